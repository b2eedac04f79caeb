"""Dead letters in MongoDB. Bytes too many for one document are kept in parts."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pymongo import ASCENDING, DESCENDING, ReplaceOne, UpdateOne

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.storage.client_ids import letter_key
from chatsvc.storage.letter_records import record_of
from chatsvc.storage.mongo.collections import CollectionNames, our_ids
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, request_documents
from chatsvc.storage.ports.dead_letters import DeadLetter, DeadLetters

_PART_BYTES: Final = 8 * 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FILL_AT_ONCE: Final = 20


class MongoDeadLetters(DeadLetters):
    """The dead letters, in a collection of their own.

    A document has ``_id``, ``code``, ``reason``, ``at``, ``size`` and ``data``, or the number
    of ``parts`` that are found as ``<_id>:<n>`` beside it; and the key of the record, as
    :class:`~chatsvc.storage.client_ids.LetterKey` names it, with the ``requests`` in it.
    """

    def __init__(self, connection: MongoConnection, names: CollectionNames) -> None:
        self._connection = connection
        self._letters = connection.to_write(names.dead_letters)
        self._parts = connection.to_write(names.dead_letter_parts)

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            position = format_id(letter.id)
            document: Document = {
                "_id": position,
                "code": letter.code,
                "reason": letter.reason,
                "at": _EPOCH + letter.at_ms * _MILLISECOND,
                "size": len(letter.data),
                **_key_fields(letter),
            }
            if len(letter.data) <= _PART_BYTES:
                document["data"] = letter.data
            else:
                document["parts"] = await self._put_parts(position, letter.data)
            await self._replace(self._letters, document)

    async def list(self, *, after: int = 0, limit: int = 100) -> builtins.list[DeadLetter]:
        if limit < 1:
            return []
        query = our_ids(above=format_id(after))
        cursor = self._letters.find(query, collation=SIMPLE).sort("_id", ASCENDING).limit(limit)
        found = await self._connection.write(lambda: cursor.to_list(None))
        return [await self._letter(document) for document in found]

    async def get(self, letter_id: int) -> DeadLetter | None:
        query = {"_id": format_id(letter_id)}
        found = await self._connection.write(
            lambda: self._letters.find_one(query, collation=SIMPLE)
        )
        return await self._letter(found) if found else None

    async def newest(self) -> DeadLetter | None:
        cursor = self._letters.find(our_ids(), collation=SIMPLE).sort("_id", DESCENDING).limit(1)
        found = await self._connection.write(lambda: cursor.to_list(None))
        return await self._letter(found[0]) if found else None

    async def drop(self, ids: Sequence[int]) -> int:
        positions = [format_id(letter_id) for letter_id in ids]
        query = {"_id": {"$in": positions}}
        deleted = await self._connection.write(
            lambda: self._letters.delete_many(query, collation=SIMPLE)
        )
        parts = {"letter": {"$in": positions}}
        await self._connection.write(lambda: self._parts.delete_many(parts, collation=SIMPLE))
        return int(deleted.deleted_count)

    async def count(self) -> int:
        query = our_ids()
        return await self._connection.write(
            lambda: self._letters.count_documents(query, collation=SIMPLE)
        )

    async def fill_keys(self) -> None:
        """Write the keys of letters that were put aside before keys were kept beside them."""
        after = 0
        while letters := await self.list(after=after, limit=_FILL_AT_ONCE):
            changes = [
                UpdateOne({"_id": format_id(letter.id)}, {"$set": fields}, collation=SIMPLE)
                for letter in letters
                if (fields := _key_fields(letter))
            ]
            if changes:
                await self._fill(changes)
            after = letters[-1].id

    async def _fill(self, changes: builtins.list[UpdateOne]) -> None:
        await self._connection.write(lambda: self._letters.bulk_write(changes, ordered=False))

    async def _put_parts(self, position: str, data: bytes) -> int:
        pieces = range(0, len(data), _PART_BYTES)
        for number, start in enumerate(pieces):
            await self._replace(
                self._parts,
                {
                    "_id": f"{position}:{number:03d}",
                    "letter": position,
                    "data": data[start : start + _PART_BYTES],
                },
            )
        return len(pieces)

    async def _replace(self, collection: Collection, document: Document) -> None:
        query = {"_id": document["_id"]}
        replacement = ReplaceOne(query, document, upsert=True, collation=SIMPLE)
        await self._connection.write(lambda: collection.bulk_write([replacement]))

    async def _letter(self, document: Document) -> DeadLetter:
        data = bytes(document.get("data", b""))
        if "parts" in document:
            query = {"letter": document["_id"]}
            cursor = self._parts.find(query, collation=SIMPLE).sort("_id", ASCENDING)
            # Beyond these may be parts of a larger letter that this one replaced.
            first = cursor.limit(document["parts"])
            parts = await self._connection.write(lambda: first.to_list(None))
            data = b"".join(bytes(part["data"]) for part in parts)
        if len(data) != document["size"]:
            raise StoreUnavailable(f"the bytes of dead letter {document['_id']} are not all there")
        return DeadLetter(
            id=int(document["_id"], 16),
            code=document["code"],
            reason=document["reason"],
            at_ms=(document["at"] - _EPOCH) // _MILLISECOND,
            data=data,
        )


def _key_fields(letter: DeadLetter) -> Document:
    key = letter_key(letter)._asdict()
    fields: Document = {name: value for name, value in key.items() if value is not None}
    record = record_of(letter)
    if record is not None and record.keys:
        fields |= {"channel": record.channel, "requests": request_documents(record)}
    return fields
