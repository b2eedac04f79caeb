"""Name and watermark of the store in MongoDB, in the collection ``meta``."""

from __future__ import annotations

from typing import Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id, parse_id
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.connection import SIMPLE
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import cause_of, unavailable
from chatsvc.storage.mongo.migrations import STORE
from chatsvc.storage.ports.watermark import StoreWatermark

_WATERMARK: Final = {"_id": "watermark"}


class MongoWatermark(MongoDatabase, StoreWatermark):
    """Keeps the name and the watermark."""

    async def identity(self) -> str:
        self._require_open()
        meta = await self._connection.read(
            lambda: self._read_meta.find_one(STORE, collation=SIMPLE)
        )
        if meta is None or str(meta["identity"]) != self._identity:
            self._identity = None  # its indexes and its version have to be looked at
            raise StoreUnavailable("another database is in the place of the one that was opened")
        return self._identity

    async def watermark(self) -> Mark | None:
        self._require_open()
        found = await self._connection.read(
            lambda: self._read_meta.find_one(_WATERMARK, collation=SIMPLE)
        )
        if found is None:
            return None
        lost = tuple(map(parse_id, found["lost"]))
        return Mark(
            parse_id(found["value"]),
            int(found["generation"]),
            str(found["epoch"]),
            (lost[0], lost[1]) if lost else None,
            str(found["content"]),
            parse_id(found["window_start"]),
        )

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._require_open()
        if expected is None:
            first = {**_WATERMARK, **_mark_document(new)}
            try:
                await self._connection.attempt(lambda: self._meta.insert_one(first))
            except DuplicateKeyError:
                return False
            except PyMongoError as exc:
                raise unavailable(exc) from cause_of(exc)
            return True
        found = {**_WATERMARK, **_mark_document(expected)}
        change = {"$set": _mark_document(new)}
        done = await self._connection.write(
            lambda: self._meta.update_one(found, change, collation=SIMPLE)
        )
        return bool(done.matched_count)


def _mark_document(mark: Mark) -> Document:
    return {
        "value": format_id(mark.position),
        "generation": mark.generation,
        "epoch": mark.epoch,
        "lost": [format_id(position) for position in mark.lost or ()],
        "content": mark.content,
        "window_start": format_id(mark.window_start),
    }
