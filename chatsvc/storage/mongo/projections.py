"""Rows of projections in MongoDB, with their positions in the collection ``meta``.

A projection's document says by which declaration its rows are made, in which collections
(``generation``) and up to where they are folded. Whoever begins the rows anew makes collections of
the next generation first, and names them in the document in one step; those before go later. Rows
of a generation above the document's are of a past that a dump ended: it is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pymongo.errors import DuplicateKeyError, PyMongoError

from chatsvc.core.ids import format_id, parse_id
from chatsvc.core.projection import Key, Projections
from chatsvc.core.record import Record
from chatsvc.storage.mongo.collections import CollectionNames, newest_id, our_messages
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import cause_of, unavailable
from chatsvc.storage.mongo.projection_rows import ProjectionRows
from chatsvc.storage.ports.projections import KeptProjection, ProjectionStore, StoredRows
from chatsvc.storage.projections.folding import FoldedBatch
from chatsvc.storage.projections.live_range import LiveRange, begins_at_once, extended
from chatsvc.storage.projections.row_state import Changes

_WATERMARK: Final = "watermark"
_PREFIX: Final = "projection:"
_AFTER_PREFIX: Final = "projection;"


class _Found(NamedTuple):
    """The document of a projection that is made by the declaration of this program."""

    generation: int
    before: int
    position: int


class MongoProjections(ProjectionStore):
    """In collections for each projection.

    Args:
        connection: the store's.
        names: of its collections.
        projections: their declarations.
    """

    def __init__(
        self, connection: MongoConnection, names: CollectionNames, projections: Projections
    ) -> None:
        self._connection = connection
        self._projections = projections
        self._name = f"{names.messages}_projection"
        self._meta = connection.to_write(names.meta)
        self._read_meta = connection.to_read(names.meta)
        self._messages = connection.to_read(names.messages)
        self._changes = connection.to_read(names.changes)
        self._live: dict[str, tuple[int, LiveRange]] = {}

    async def open(self) -> None:
        """Begin those that are not there yet, or were declared otherwise.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        if self._projections:
            documents, _ = await self._documents()
            for one in self._projections:
                found = documents.get(one.name)
                if found is None or found["declared"] != one.declared:
                    await self._begin(one.name, found)

    async def fold(self, records: Sequence[Record]) -> FoldedBatch:
        """Fold records that are about to be written."""
        if not self._projections:
            return FoldedBatch(self._projections, records)
        return await asyncio.to_thread(FoldedBatch, self._projections, records)

    async def write(self, changes: Mapping[str, Changes], records: Sequence[Record]) -> None:
        """Write what a batch changes, then move positions.

        Args:
            changes: by projection.
            records: the batch.

        Raises:
            StoreUnavailable: any part of it may have been written.
        """
        if not self._projections:
            return
        documents, watermark = await self._documents()
        below: int | None = None
        for one in self._projections:
            found = self._mine(one.name, documents)
            if found is None:
                continue  # of another version of the program: folded when it begins anew
            if one.name in changes:
                await self._rows(one.name, found.generation).write(changes[one.name])
            generation, live = self._live.get(one.name, (0, None))
            live = live if generation == found.generation else None
            if below is None and not begins_at_once(live, watermark, records[0].id):
                below = await self._newest_below(records[0].id)
            live = extended(live, max(watermark, below or 0), records[-1].id)
            self._live[one.name] = found.generation, live
            await self._settle(one.name, found.generation, live)

    async def position(self, name: str) -> int:
        found = await self._look(name)
        return found.position if found is not None else 0

    async def get(self, name: str, key: Key) -> StoredRows:
        found = await self._look(name)
        if found is None:
            return StoredRows(0, [])
        return StoredRows(found.position, await self._rows(name, found.generation).get(key))

    async def page(self, name: str, prefix: Key, after: Key | None, limit: int) -> StoredRows:
        found = await self._look(name)
        if found is None:
            return StoredRows(0, [])
        rows = self._rows(name, found.generation)
        return StoredRows(found.position, await rows.page(prefix, after, limit))

    async def catch_up(self, name: str, changes: Changes, after: int, up_to: int) -> None:
        documents, watermark = await self._documents()
        found = self._mine(name, documents)
        if found is None:
            return
        await self._rows(name, found.generation).write(changes)
        await self._settle(name, found.generation, LiveRange(after, up_to))
        generation, live = self._live.get(name, (0, None))
        if live is not None and generation == found.generation and watermark >= live.up_to:
            await self._settle(name, generation, live)  # not where the store was put back

    async def begin_anew(self, name: str) -> None:
        documents, _ = await self._documents()
        await self._begin(name, documents.get(name))

    async def kept(self) -> Mapping[str, KeptProjection]:
        query = {"_id": {"$gte": _PREFIX, "$lt": _AFTER_PREFIX}}
        found = await self._connection.read(
            lambda: self._read_meta.find(query, collation=SIMPLE).to_list(None)
        )
        return {
            one["_id"].removeprefix(_PREFIX): KeptProjection(one["declared"], int(one["position"]))
            for one in found
        }

    async def purge(self, before_id: int, limit: int) -> int:
        deleted = 0
        documents, watermark = await self._documents()
        for one in self._projections:
            found = self._mine(one.name, documents)
            if found is not None and found.position >= watermark and deleted < limit:
                if found.before:
                    await self._rows(one.name, found.before).drop()
                rows = self._rows(one.name, found.generation)
                deleted += await rows.purge(before_id, limit - deleted)
        return deleted

    async def _begin(self, name: str, found: Document | None) -> None:
        """The next generation, unless another process was first."""
        held = int(found["generation"]) if found is not None else 0
        if found is not None and (before := _before(found)):
            await self._rows(name, before).drop()
        generation = held + 1
        while not await self._rows(name, generation).is_empty():
            generation += 1
        await self._rows(name, generation).make()
        new = {
            "declared": self._projections[name].declared,
            "generation": generation,
            "before": held,
            "position": 0,
        }
        this = {"_id": _document_id(name)}
        if found is not None:
            this["generation"] = found["generation"]
            await self._connection.write(
                lambda: self._meta.update_one(this, {"$set": new}, collation=SIMPLE)
            )
            return
        try:
            await self._connection.attempt(lambda: self._meta.insert_one(this | new))
        except DuplicateKeyError:
            return
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)

    async def _newest_below(self, record_id: int) -> int:
        """The highest id of a record in the store below this one, 0 if there is none."""
        position = format_id(record_id)
        return max(
            await newest_id(self._connection, self._messages, our_messages(below=position)),
            await newest_id(self._connection, self._changes, {"id": {"$lt": position}}, by="id"),
        )

    async def _documents(self) -> tuple[dict[str, Document], int]:
        """The documents of the projections by name, and the position of the store's watermark."""
        ids = {_document_id(one.name): one.name for one in self._projections}
        query = {"_id": {"$in": [*ids, _WATERMARK]}}
        found = await self._connection.write(
            lambda: self._meta.find(query, collation=SIMPLE).to_list(None)
        )
        watermark = 0
        documents: dict[str, Document] = {}
        for one in found:
            if one["_id"] == _WATERMARK:
                watermark = parse_id(one["value"])
            else:
                documents[ids[one["_id"]]] = one
        return documents, watermark

    def _mine(self, name: str, documents: Mapping[str, Document]) -> _Found | None:
        found = documents.get(name)
        if found is None or found["declared"] != self._projections[name].declared:
            return None
        return _Found(int(found["generation"]), _before(found), int(found["position"]))

    async def _look(self, name: str) -> _Found | None:
        this = {"_id": _document_id(name)}
        found = await self._connection.read(
            lambda: self._read_meta.find_one(this, collation=SIMPLE)
        )
        return self._mine(name, {name: found} if found is not None else {})

    async def _settle(self, name: str, generation: int, live: LiveRange) -> None:
        where = {
            "_id": _document_id(name),
            "generation": generation,
            "position": {"$gte": live.after, "$lt": live.up_to},
        }
        change = {"$set": {"position": live.up_to}}
        await self._connection.write(lambda: self._meta.update_one(where, change, collation=SIMPLE))

    def _rows(self, name: str, generation: int) -> ProjectionRows:
        return ProjectionRows(self._connection, self._projections[name], self._name, generation)


def _before(found: Document) -> int:
    """The generation that was named before; 0: none."""
    return int(found.get("before", found["generation"] - 1))


def _document_id(name: str) -> str:
    return f"{_PREFIX}{name}"
