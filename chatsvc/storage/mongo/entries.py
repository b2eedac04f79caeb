"""Entries of messages and changes: of a conversation, and of a user, merged from several reads.

A user's are those that name the user, by the index of ``audience``, those of the user's large
sets, by the index of ``channel``, and those of the user's groups and rooms
(:mod:`chatsvc.storage.mongo.ranges`). The server merges up to 200 ranges of an index that a query
asks to be sorted (``internalQueryMaxScansToExplode``); of more it would sort everything that is in
them. So they are asked for in parts of that many, and what is found bounds the next part: a page
of the newest begins with those that have the newest records, and ends where the next one's are
older than what was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from chatsvc.core.ids import format_id
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import Bounds, Entry, take
from chatsvc.storage.mongo.collections import MEMBERS_INDEX
from chatsvc.storage.mongo.connection import SIMPLE, Collection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document, People, PeopleOf, id_range
from chatsvc.storage.mongo.large_sets import in_parts
from chatsvc.storage.mongo.own_documents import within
from chatsvc.storage.mongo.ranges import Range, ranges_of, within_ranges

RANGES: Final = 200
"""Ranges of an index that the server merges without sorting what is in them."""


class Source(NamedTuple):
    """A collection of records, the field of their ids, and what a document of it holds.

    ``fields`` are those that are read; ``None``: all.
    """

    collection: Collection
    by: str
    entry: Callable[[Document, PeopleOf], Entry | None]
    fields: Document | None = None


class MongoEntries(MongoDatabase):
    """Reads entries from one or more sources."""

    async def _entry(self, source: Source, record_id: int) -> Entry | None:
        """The one that has this id."""
        query = {source.by: format_id(record_id)}
        found = await self._connection.read(
            lambda: source.collection.find_one(query, source.fields, collation=SIMPLE)
        )
        if not found:
            return None
        known: dict[str, People] = {}
        await self._connection.read(lambda: self._large_sets.look_up([found], known))
        return self._own.convert(found, partial(_entry, source.entry, known))

    async def _channel_entries(
        self, channel: str, bounds: Bounds, sources: Sequence[Source], reader: str | None = None
    ) -> list[Entry]:
        """Without those that name people, or with those that name ``reader``."""
        self._require_open()
        query: Document = {"channel": channel}
        if is_member_channel(channel):
            named = {"audience": {"$in": [None, reader]}}
            query = {"for_members": channel} if reader is None else query | named
        found: list[Entry] = []
        for source in sources:
            found = await self._add(found, source, query, bounds)
        return found

    async def _user_entries(
        self, user: str, bounds: Bounds, sources: Sequence[Source]
    ) -> list[Entry]:
        self._require_open()
        found, sets, channels = await asyncio.gather(
            self._named_entries(user, bounds, sources),
            self._large_sets.of(user, after=bounds.after),
            self._member_channels.of(user, after=bounds.after),
        )
        # By ``last_record`` for messages too: ``last_id`` follows what is stored.
        sets.sort(key=lambda one: one.last_record, reverse=bounds.newest)
        ranges = sorted(ranges_of(channels), key=lambda one: one.last, reverse=bounds.newest)
        for source in sources:
            for some in in_parts(sets, RANGES):
                rest = _narrowed(found, bounds)
                if large := [one.channel for one in some if one.last_record > rest.after]:
                    query: Document = {"channel": {"$in": large}}
                    found = await self._add(found, source, query, bounds)
            for part in in_parts(ranges, RANGES):
                if wanted := _overlapping(part, _narrowed(found, bounds)):
                    query = within_ranges(wanted, source.by)
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
            sets, channels = await asyncio.gather(
                self._large_sets.of(user, after=bounds.after),
                self._member_channels.of(user, after=bounds.after),
            )
            large = [one.channel for one in sets]
            ranges = _overlapping(ranges_of(channels), bounds)
            for source in sources:
                for some in in_parts(large):
                    query: Document = {"channel": {"$in": some}}
                    counted += await self._count(source, query, bounds, counted)
                for part in in_parts(ranges):
                    query = within_ranges(part, source.by)
                    counted += await self._count(source, query, bounds, counted)
        return counted

    async def _named_entries(
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
            fields=source.fields,
            prepare=lambda documents: self._large_sets.look_up(documents, known),
            index=_index_for(query),
        )
        return _merged(found, part, bounds)

    async def _count(self, source: Source, query: Document, bounds: Bounds, counted: int) -> int:
        wanted = bounds.limit - counted
        if wanted < 1:  # to MongoDB, a limit of 0 is none
            return 0
        asked = within(query, source.by, id_range(bounds))
        options: dict[str, Any] = {"limit": wanted, "collation": SIMPLE}
        if (index := _index_for(query)) is not None:
            options["hint"] = index
        return await self._connection.read(
            lambda: source.collection.count_documents(asked, **options)
        )


def _entry(
    entry: Callable[[Document, PeopleOf], Entry | None], known: PeopleOf, document: Document
) -> Entry | None:
    return entry(document, known)


def _index_for(query: Document) -> str | None:
    """The name of the index that a query must use, if it has to be told."""
    return MEMBERS_INDEX if "$or" in query else None


def _overlapping(ranges: Sequence[Range], bounds: Bounds) -> list[Range]:
    return [one for one in ranges if one.last > bounds.after and one.first < bounds.before]


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
