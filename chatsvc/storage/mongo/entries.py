"""Entries of messages and changes: of a conversation, and of a user, merged from several reads.

A user's are those of the small sets, by the index of ``audience``, and those of the user's large
sets, by the index of ``channel``. The server merges up to 200 ranges of an index that a query
asks to be sorted (``internalQueryMaxScansToExplode``); of more it would sort everything that is
in them. So large sets are asked for in parts of that many, and what is found bounds the next
part: a page of the newest begins with the sets that have the newest records, and ends where the
next one's are older than what was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, Entry, take
from chatsvc.storage.mongo.connection import SIMPLE, Collection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document, People, PeopleOf, id_range
from chatsvc.storage.mongo.large_sets import in_parts

RANGES: Final = 200
"""Ranges of an index that the server merges without sorting what is in them."""


class Source(NamedTuple):
    """A collection of records, the field of their ids, and what a document of it holds."""

    collection: Collection
    by: str
    entry: Callable[[Document, PeopleOf], Entry | None]


class MongoEntries(MongoDatabase):
    """Reads entries from one or more sources."""

    async def _entry(self, source: Source, record_id: int) -> Entry | None:
        """The one that has this id."""
        query = {source.by: format_id(record_id)}
        found = await self._connection.read(
            lambda: source.collection.find_one(query, collation=SIMPLE)
        )
        if not found:
            return None
        known: dict[str, People] = {}
        await self._connection.read(lambda: self._large_sets.look_up([found], known))
        return self._own.convert(found, partial(_entry, source.entry, known))

    async def _channel_entries(
        self, channel: str, bounds: Bounds, sources: Sequence[Source]
    ) -> list[Entry]:
        self._require_open()
        found: list[Entry] = []
        for source in sources:
            found = await self._add(found, source, {"channel": channel}, bounds)
        return found

    async def _user_entries(
        self, user: str, bounds: Bounds, sources: Sequence[Source]
    ) -> list[Entry]:
        self._require_open()
        small, large = await asyncio.gather(
            self._small_entries(user, bounds, sources),
            self._large_sets.of(user, after=bounds.after),
        )
        # By ``last_record`` for messages too: ``last_id`` follows what is stored.
        large.sort(key=lambda one: one.last_record, reverse=bounds.newest)
        found = small
        for source in sources:
            for part in in_parts(large, RANGES):
                rest = _narrowed(found, bounds)
                channels = [one.channel for one in part if one.last_record > rest.after]
                if channels:
                    query = {"channel": {"$in": channels}}
                    found = await self._add(found, source, query, bounds)
        return found

    async def _count_user_entries(
        self, user: str, bounds: Bounds, sources: Sequence[Source]
    ) -> int:
        """How many there are, counted up to ``bounds.limit``."""
        self._require_open()
        counted = 0
        for source in sources:
            counted += await self._count(source, {"audience": user}, bounds, counted)
        if counted < bounds.limit:
            large = await self._large_sets.of(user, after=bounds.after)
            channels = [one.channel for one in large]
            for source in sources:
                for part in in_parts(channels):
                    query = {"channel": {"$in": part}}
                    counted += await self._count(source, query, bounds, counted)
        return counted

    async def _small_entries(
        self, user: str, bounds: Bounds, sources: Sequence[Source]
    ) -> list[Entry]:
        found: list[Entry] = []
        for source in sources:
            found = await self._add(found, source, {"audience": user}, bounds)
        return found

    async def _add(
        self, found: list[Entry], source: Source, query: Document, bounds: Bounds
    ) -> list[Entry]:
        """What was found, ascending, and what this query finds, as far as the bounds go."""
        rest = _narrowed(found, bounds)
        if rest.after + 1 >= rest.before:
            return found
        known: dict[str, People] = {}
        part = await self._own.collect(
            source.collection,
            query,
            source.by,
            rest,
            partial(_entry, source.entry, known),
            _body_size,
            prepare=lambda documents: self._large_sets.look_up(documents, known),
        )
        return _merged(found, part, bounds)

    async def _count(self, source: Source, query: Document, bounds: Bounds, counted: int) -> int:
        wanted = bounds.limit - counted
        if wanted < 1:  # to MongoDB, a limit of 0 is none
            return 0
        asked = query | {source.by: id_range(bounds)}
        return await self._connection.read(
            lambda: source.collection.count_documents(asked, limit=wanted, collation=SIMPLE)
        )


def _entry(
    entry: Callable[[Document, PeopleOf], Entry | None], known: PeopleOf, document: Document
) -> Entry | None:
    return entry(document, known)


def _narrowed(found: Sequence[Entry], bounds: Bounds) -> Bounds:
    """The part of the range from which anything could still come into a page of so many."""
    if not bounds.reached_by(found) or not found:
        return bounds
    if bounds.newest:
        return bounds._replace(after=max(bounds.after, found[0].id))
    return bounds._replace(before=min(bounds.before, found[-1].id))


def _merged(found: Sequence[Entry], part: Sequence[Entry], bounds: Bounds) -> list[Entry]:
    """Both, ascending, each once, as far as the bounds go."""
    entries = {one.id: one for one in (*found, *part)}
    ordered = [entries[position] for position in sorted(entries, reverse=bounds.newest)]
    kept = take(ordered[: bounds.limit], _body_size, bounds.max_bytes)
    return kept[::-1] if bounds.newest else kept


def _body_size(entry: Entry) -> int:
    return len(entry.body)
