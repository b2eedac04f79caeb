"""The records of MongoDB one behind the other, for what folds them anew."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain
from operator import attrgetter

from chatsvc.core.page import Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.storage.mongo.documents import Document, People
from chatsvc.storage.mongo.entries import Source
from chatsvc.storage.mongo.records import MongoRecords
from chatsvc.storage.ports.projections import RecordScan


class MongoScan(MongoRecords, RecordScan):
    """Reads messages and changes."""

    async def scan(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        self._require_open()
        bounds = Bounds(limit, after=after, before=up_to + 1, newest=False, max_bytes=max_bytes)
        found = await asyncio.gather(*(self._scanned(one, bounds) for one in self._sources()))
        # What is behind the last of a part that its bounds ended is not in this page either.
        ends = [part[-1].id for part in found if bounds.reached_by(part)]
        records = sorted(chain.from_iterable(found), key=attrgetter("id"))
        records = [one for one in records if one.id <= min(ends, default=up_to)]
        return take(records[:limit], lambda one: len(one.body), max_bytes)

    async def _scanned(self, source: Source, bounds: Bounds) -> list[Record]:
        known: dict[str, People] = {}

        def convert(document: Document) -> Record | None:
            entry = source.entry(document, known)
            return _record(document, entry) if entry is not None else None

        return await self._own.collect(
            source.collection,
            {},
            source.by,
            bounds,
            convert,
            lambda one: len(one.body),
            fields=source.fields,
            prepare=partial(self._large_sets.look_up, known=known),
        )


def _record(document: Document, entry: Entry) -> Record:
    return Record(
        id=entry.id,
        kind=entry.kind,
        channel=entry.channel,
        audience=entry.audience,
        sender=entry.sender,
        origin=entry.origin,
        client_id=document.get("client_id"),
        digest=bytes(document["digest"]),
        body=entry.body,
        target=document.get("target", ""),
    )
