"""The rows of one projection in MongoDB, right however many write them and wherever one is cut off.

A row is a document whose ``_id`` is its key as text (:mod:`~chatsvc.storage.projections.key_text`),
and every write of one is an update that joins its state with what is there, in one step. Removals
are documents of a collection of their own, by prefix. Two writers that do not see each other must
not leave a row that one of them removed, so each does its part first and then looks at the other's:

* who removes writes the removal, then hides the rows that are there;
* who writes rows leaves out what is removed already, writes the others, then reads the removals
  again and hides what they remove.

Whichever comes first, one of the two sees both. What was cut off is done again with its batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pymongo import ASCENDING, DeleteMany, IndexModel, UpdateMany, UpdateOne

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.projection import Key, Projection
from chatsvc.storage.mongo.bulk import Update, bulk, update_all
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.large_sets import in_parts
from chatsvc.storage.projections.key_text import end_of, key_text
from chatsvc.storage.projections.row_state import Changes, RowState, prefixes

_REV_INDEX: Final = IndexModel([("rev", ASCENDING)], name="rev", collation=SIMPLE)


class ProjectionRows:
    """One generation of the rows of a projection: each begins anew, in collections of its own.

    Args:
        connection: the store's.
        projection: the declaration.
        name: what the names of its collections begin with.
        generation: its number.
    """

    def __init__(
        self, connection: MongoConnection, projection: Projection, name: str, generation: int
    ) -> None:
        whole = f"{name}_{projection.name}_{generation}"
        self._connection = connection
        self._projection = projection
        self._rows = connection.to_write(whole)
        self._removals = connection.to_write(f"{whole}_removals")
        self._to_read = connection.to_read(whole)

    async def make(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        indexes = [
            IndexModel(
                [(name, ASCENDING) for name in index], name=",".join(index), collation=SIMPLE
            )
            for index in self._projection.indexes
        ]
        if indexes:
            await self._connection.write(lambda: self._rows.create_indexes(indexes))
        await self._connection.write(lambda: self._removals.create_indexes([_REV_INDEX]))

    async def is_empty(self) -> bool:
        """Whether it has neither rows nor removals.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        for collection in (self._rows, self._removals):
            found = await self._connection.write(
                lambda collection=collection: collection.find_one({}, {"_id": 1}, collation=SIMPLE)  # type: ignore[misc]
            )
            if found is not None:
                return False
        return True

    async def drop(self) -> None:
        """Remove it; again does no harm.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        for collection in (self._rows, self._removals):
            await self._connection.write(collection.drop)

    async def write(self, changes: Changes) -> None:
        """Write what a batch changes.

        Raises:
            StoreUnavailable: any part of it may have been written.
        """
        await self._remove(changes.removed)
        if not changes.states:
            return
        known = await self._known_removals(changes)
        states = changes.left(known)
        await self._join(states)
        again = await self._known_removals(changes) if states else known
        await self._hide({one: rev for one, rev in again.items() if rev > known.get(one, 0)})

    async def get(self, key: Key) -> list[tuple[Key, RowState]]:
        """One row, if it is there.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        return await self._found({"_id": key_text(key)}, 1)

    async def page(self, prefix: Key, after: Key | None, limit: int) -> list[tuple[Key, RowState]]:
        """Rows by prefix, above a key.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        above = {"$gte": key_text(prefix)} if after is None else {"$gt": key_text(after)}
        if after is not None and key_text(after) < key_text(prefix):
            above = {"$gte": key_text(prefix)}
        below = {"$lt": end_of(prefix)} if prefix else {}
        return await self._found({"_id": above | below}, limit)

    async def purge(self, before_id: int, limit: int) -> int:
        """Forget old removals; how many went.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        old = {"rev": {"$lt": before_id}}
        cursor = self._removals.find(old, {"_id": 1}, collation=SIMPLE).limit(limit)
        found = await self._connection.write(lambda: cursor.to_list(None))
        if not found:
            return 0
        # One that was raised in between stays.
        which = old | {"_id": {"$in": [one["_id"] for one in found]}}
        done = await self._connection.write(
            lambda: self._removals.delete_many(which, collation=SIMPLE)
        )
        return int(done.deleted_count)

    async def _remove(self, removed: Mapping[Key, int]) -> None:
        await update_all(
            self._connection,
            self._removals,
            [
                Update({"_id": key_text(one)}, {"$max": {"rev": rev}})
                for one, rev in removed.items()
            ],
        )
        await self._hide(removed)

    async def _hide(self, removed: Mapping[Key, int]) -> None:
        """Take the puts of rows that are older, hide rows of which all is, delete empty ones."""
        operations: list[Any] = []
        no_puts = {one.name: None for one in self._projection.puts}
        no_maxima = {one.name: {"$exists": False} for one in self._projection.maxima}
        for prefix, rev in removed.items():
            where = {"_id": {"$gte": key_text(prefix), "$lt": end_of(prefix)}}
            older = {"$gt": 0, "$lt": rev}
            operations += [
                UpdateMany(
                    where | {"put_rev": older},
                    {"$set": {"put_rev": 0, **no_puts}},
                    collation=SIMPLE,
                ),
                UpdateMany(where | {"rev": older}, {"$set": {"rev": 0}}, collation=SIMPLE),
                DeleteMany(where | {"rev": 0} | no_maxima, collation=SIMPLE),
            ]
        for part in in_parts(operations, 999):
            await self._connection.write(
                lambda part=part: self._rows.bulk_write(list(part), ordered=True)  # type: ignore[misc]
            )

    async def _known_removals(self, changes: Changes) -> dict[Key, int]:
        """The removals of the rows that are written."""
        wanted = {key_text(one): one for key in changes.states for one in prefixes(key)}
        known: dict[Key, int] = {}
        for part in in_parts(list(wanted)):
            cursor = self._removals.find({"_id": {"$in": list(part)}}, collation=SIMPLE)
            for found in await self._connection.write(lambda cursor=cursor: cursor.to_list(None)):  # type: ignore[misc]
                known[wanted[found["_id"]]] = int(found["rev"])
        return known

    async def _join(self, states: Mapping[Key, RowState]) -> None:
        """Join the states of rows with what is there."""
        rows = list(states.items())
        if not rows:
            return
        taken = await bulk(self._connection, self._rows, [self._joined(*row) for row in rows])
        if not taken:
            return
        # A put that is as new is there, or another writer made the row in between. Both are
        # updates of a row that exists.
        again = [rows[index] for index in taken]
        puts = [
            _put(self._joined_filter(*row), self._sets(*row)) for row in again if row[1].put_rev
        ]
        if puts:
            await self._connection.write(lambda: self._rows.bulk_write(puts, ordered=False))
        raised = [_put({"_id": key_text(key)}, _raises(state)) for key, state in again]
        done = await self._connection.write(lambda: self._rows.bulk_write(raised, ordered=False))
        if done.matched_count < len(raised):
            raise StoreUnavailable("another service removed a row in between")

    def _joined(self, key: Key, state: RowState) -> UpdateOne:
        change = _raises(state)
        if state.put_rev:
            change |= self._sets(key, state)
        else:
            unset = {one.name: None for one in self._projection.puts}
            change["$setOnInsert"] = self._key_fields(key) | unset | {"put_rev": 0}
        return UpdateOne(self._joined_filter(key, state), change, upsert=True, collation=SIMPLE)

    def _joined_filter(self, key: Key, state: RowState) -> Document:
        older: Document = {"put_rev": {"$lt": state.put_rev}} if state.put_rev else {}
        return {"_id": key_text(key)} | older

    def _sets(self, key: Key, state: RowState) -> Document:
        puts = {one.name: state.puts.get(one.name) for one in self._projection.puts}
        return {"$set": self._key_fields(key) | puts | {"put_rev": state.put_rev}}

    def _key_fields(self, key: Key) -> Document:
        return {one.name: value for one, value in zip(self._projection.key, key, strict=True)}

    async def _found(self, query: Document, limit: int) -> list[tuple[Key, RowState]]:
        cursor = self._to_read.find(query, collation=SIMPLE).sort("_id", ASCENDING).limit(limit)
        found = await self._connection.read(lambda: cursor.to_list(None))
        return [self._state(document) for document in found]

    def _state(self, document: Document) -> tuple[Key, RowState]:
        projection = self._projection
        key = tuple(_plain(document[one.name]) for one in projection.key)
        puts = _set_fields(document, [one.name for one in projection.puts])
        maxima = _set_fields(document, [one.name for one in projection.maxima])
        return key, RowState(int(document["rev"]), int(document["put_rev"]), puts, maxima)


def _raises(state: RowState) -> Document:
    return {"$max": {"rev": state.rev, **state.maxima}}


def _put(query: Document, change: Document) -> UpdateOne:
    return UpdateOne(query, change, collation=SIMPLE)


def _set_fields(document: Document, names: Iterable[str]) -> dict[str, Any]:
    return {name: _plain(document[name]) for name in names if document.get(name) is not None}


def _plain(value: Any) -> Any:
    """Without the driver's own classes for integers and bytes."""
    if isinstance(value, bytes):
        return bytes(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
