"""Batches of records written to MongoDB, and old messages deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo import ASCENDING
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from chatsvc.core.ids import format_id
from chatsvc.core.record import Record
from chatsvc.storage.bodies import Sameness, conflicting, partition_records, sameness
from chatsvc.storage.mongo import conversations
from chatsvc.storage.mongo.collections import our_messages
from chatsvc.storage.mongo.connection import SIMPLE
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Encoded, encode
from chatsvc.storage.mongo.errors import (
    CONTENT,
    DUPLICATE_KEY,
    cause_of,
    is_about_content,
    unavailable,
)
from chatsvc.storage.ports.messages import MessagePurger, MessageWriter, Rejection

_PART: Final = 1000
"""Records that are encoded and inserted in one go."""
_SAMENESS: Final = dict.fromkeys(Sameness._fields, 1)


class MongoWrites(MongoDatabase, MessageWriter, MessagePurger):
    """Writes and deletes messages with their conversations."""

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._require_open()
        if not records:
            return []
        newest: dict[str, Encoded] = {}
        rejections: list[Rejection] = []
        parts = [records[at : at + _PART] for at in range(0, len(records), _PART)]
        encoding = asyncio.ensure_future(asyncio.to_thread(_encode_all, parts[0]))
        try:
            for following in [*parts[1:], None]:
                encoded, unfit = await encoding
                if following is not None:
                    # While MongoDB takes these in, the next become documents.
                    encoding = asyncio.ensure_future(asyncio.to_thread(_encode_all, following))
                refused = await self._insert(encoded)
                rejections += [*unfit, *refused]
                ids = {rejection.record.id for rejection in refused}
                newest |= {o.record.channel: o for o in encoded if o.record.id not in ids}
        finally:
            await asyncio.wait([encoding])
        # Only after the messages: a conversation never tells of what is not there.
        await conversations.update(self._connection, self._conversations, list(newest.values()))
        return rejections

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self._require_open()
        query = our_messages(below=format_id(before_id))
        cursor = self._messages.find(query, {"channel": 1}, collation=SIMPLE)
        oldest = cursor.sort("_id", ASCENDING).limit(limit)
        old = await self._connection.write(lambda: oldest.to_list(None))
        if not old:
            return 0
        ids = [document["_id"] for document in old]
        channels = list({document.get("channel") for document in old})
        # First the conversations: left behind, one would never be found again.
        await conversations.delete_ended(self._connection, self._conversations, channels, ids)
        selected = {"_id": {"$in": ids}}
        deleted = await self._connection.write(
            lambda: self._messages.delete_many(selected, collation=SIMPLE)
        )
        return int(deleted.deleted_count)

    async def _insert(self, encoded: Sequence[Encoded]) -> list[Rejection]:
        """All that can go in, does; what cannot is told apart document by document."""
        if not encoded:
            return []
        documents = [one.document for one in encoded]
        try:
            await self._connection.attempt(
                lambda: self._messages.insert_many(documents, ordered=False)
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
        return await self._insert(encoded[:middle]) + await self._insert(encoded[middle:])

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
        duplicates: list[Record] = []
        rejections: list[Rejection] = []
        for error in details.get("writeErrors", ()):
            record = encoded[error["index"]].record
            if error.get("code") == DUPLICATE_KEY:
                duplicates.append(record)
            elif error.get("code") in CONTENT:
                code = f"mongodb_{error['code']}"
                rejections.append(Rejection(record, code, _reason(error)))
            else:
                raise unavailable(exc) from None
        # With majority, the server has waited for what these ids were first written with.
        return rejections + await self._judge_duplicates(duplicates)

    async def _judge_duplicates(self, records: Sequence[Record]) -> list[Rejection]:
        if not records:
            return []
        query = {"_id": {"$in": [format_id(record.id) for record in records]}}
        held = await self._connection.write(
            lambda: self._messages.find(query, _SAMENESS, collation=SIMPLE).to_list(None)
        )
        # A document without a digest is somebody else's, under an id of ours.
        known = {
            int(document["_id"], 16): Sameness(
                bytes(document.get("digest", b"")),
                document.get("channel", ""),
                document.get("sender", ""),
                document.get("client_id"),
            )
            for document in held
        }
        rejections: list[Rejection] = []
        for record in records:
            if record.id not in known:
                reason = "a unique index that is not chatsvc's refuses it"
                rejections.append(Rejection(record, "duplicate_key", reason))
            elif known[record.id] != sameness(record):
                rejections.append(conflicting(record))
        return rejections


def _encode_all(records: Sequence[Record]) -> tuple[list[Encoded], list[Rejection]]:
    decoded, rejections = partition_records(records)
    encoded: list[Encoded] = []
    for one in decoded:
        result = encode(one)
        if isinstance(result, Encoded):
            encoded.append(result)
        else:
            rejections.append(result)
    return encoded, rejections


def _reason(error: Mapping[str, Any]) -> str:
    """The code's name; the server's message may quote the document."""
    name = error.get("codeName")
    return f"MongoDB refuses it: {name}" if name else "MongoDB refuses it"
