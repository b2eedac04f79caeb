"""Documents of records written to a collection: what cannot go in is told apart one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import DESCENDING, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from chatsvc.core.ids import format_id
from chatsvc.core.record import Record
from chatsvc.storage.bodies import Sameness, conflicting, sameness
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, Encoded
from chatsvc.storage.mongo.errors import (
    CONTENT,
    DUPLICATE_KEY,
    cause_of,
    is_about_content,
    unavailable,
)
from chatsvc.storage.ports.messages import Rejection

_SAMENESS: Final = dict.fromkeys(Sameness._fields, 1)


class Insertion:
    """Writes documents, each once, and says which are refused for good.

    Args:
        connection: the store's.
        collection: where they go.
        meta: where a server that refuses one is asked whether it takes anything.
        by: the field that holds a record's id.
    """

    def __init__(
        self, connection: MongoConnection, collection: Collection, meta: Collection, *, by: str
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._meta = meta
        self._by = by

    async def put(self, encoded: Sequence[Encoded]) -> list[Rejection]:
        """All that can go in, does; what cannot is told apart document by document.

        Raises:
            StoreUnavailable: any part of them may have gone in.
        """
        if not encoded:
            return []
        wanted = [_operation(one) for one in encoded]
        try:
            await self._connection.attempt(
                lambda: self._collection.bulk_write(wanted, ordered=False)
            )
        except BulkWriteError as exc:
            return await self._sort_out(encoded, exc)
        except PyMongoError as exc:
            if not is_about_content(exc):
                raise unavailable(exc) from cause_of(exc)
            if len(encoded) == 1:
                return await self._blame(encoded[0], exc)
        else:
            return []
        middle = len(encoded) // 2
        return await self.put(encoded[:middle]) + await self.put(encoded[middle:])

    async def held(self, ids: Sequence[int]) -> dict[int, Sameness]:
        """What is under these ids of records already.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        if not ids:
            return {}
        query = {self._by: {"$in": [format_id(one) for one in ids]}}
        fields = _SAMENESS | {self._by: 1}
        found = await self._connection.write(
            lambda: self._collection.find(query, fields, collation=SIMPLE).to_list(None)
        )
        return {int(document[self._by], 16): _sameness_of(document) for document in found}

    async def newest(self) -> int:
        """The highest id of a record here, 0 if there is none.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        cursor = self._collection.find({}, {self._by: 1}, collation=SIMPLE)
        last = cursor.sort(self._by, DESCENDING).limit(1)
        found = await self._connection.write(lambda: last.to_list(None))
        return int(found[0][self._by], 16) if found else 0

    async def _blame(self, one: Encoded, exc: OperationFailure) -> list[Rejection]:
        # A server that refuses every write the same way is at fault, not the document.
        # (``BadValue`` is also what one without a journal answers to ``j: true``.)
        control = {"_id": "control"}
        change = {"$set": {"last": one.record.channel}}
        await self._connection.write(
            lambda: self._meta.update_one(control, change, upsert=True, collation=SIMPLE)
        )
        return [Rejection(one.record, f"mongodb_{exc.code}", _reason(exc.details or {}))]

    async def _sort_out(self, encoded: Sequence[Encoded], exc: BulkWriteError) -> list[Rejection]:
        details = exc.details or {}
        if details.get("writeConcernErrors"):
            raise unavailable(exc) from None
        taken: list[Encoded] = []
        rejections: list[Rejection] = []
        for error in details.get("writeErrors", ()):
            one = encoded[error["index"]]
            if error.get("code") == DUPLICATE_KEY:
                taken.append(one)
            elif error.get("code") in CONTENT:
                code = f"mongodb_{error['code']}"
                rejections.append(Rejection(one.record, code, _reason(error)))
            else:
                raise unavailable(exc) from None
        # With majority, the server has waited for what these ids were first written with.
        rejections += await self._judge_duplicates([o.record for o in taken if o.about is None])
        await self._replace_again([one for one in taken if one.about is not None])
        return rejections

    async def _judge_duplicates(self, records: Sequence[Record]) -> list[Rejection]:
        known = await self.held([record.id for record in records])
        rejections: list[Rejection] = []
        for record in records:
            if record.id not in known:
                reason = "a unique index that is not chatsvc's refuses it"
                rejections.append(Rejection(record, "duplicate_key", reason))
            elif known[record.id] != sameness(record):
                rejections.append(conflicting(record))
        return rejections

    async def _replace_again(self, encoded: Sequence[Encoded]) -> None:
        """Either a newer one is there, or another writer's older one came in between."""
        if encoded:
            again = [_replacement(one, upsert=False) for one in encoded]
            await self._connection.write(lambda: self._collection.bulk_write(again, ordered=False))


def _operation(one: Encoded) -> InsertOne[Any] | ReplaceOne[Any]:
    return InsertOne(one.document) if one.about is None else _replacement(one, upsert=True)


def _replacement(one: Encoded, *, upsert: bool) -> ReplaceOne[Any]:
    older = {"_id": one.about, "id": {"$lt": format_id(one.record.id)}}
    return ReplaceOne(older, one.document, upsert=upsert, collation=SIMPLE)


def _sameness_of(document: Document) -> Sameness:
    # A document without a digest is somebody else's, under an id of ours.
    return Sameness(
        bytes(document.get("digest", b"")),
        document.get("channel", ""),
        document.get("sender", ""),
        document.get("client_id"),
    )


def _reason(error: Mapping[str, Any]) -> str:
    """The code's name; the server's message may quote the document."""
    name = error.get("codeName")
    return f"MongoDB refuses it: {name}" if name else "MongoDB refuses it"
