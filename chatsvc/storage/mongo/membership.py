"""Members, channels and filters in MongoDB, read and written."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING

from chatsvc.core.membership import Interval
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.storage.mongo.bulk import update_all
from chatsvc.storage.mongo.connection import SIMPLE
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.state_documents import to_row, updates_of
from chatsvc.storage.ports.membership import StateReader, StateWriter


class MongoMembership(MongoDatabase, StateReader, StateWriter):
    """Keeps members, channels and filters."""

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        self._require_open()
        return await self._member_channels.intervals(user, channel)

    async def state_page(self, after: str, limit: int) -> StatePage:
        self._require_open()
        cursor = self._read_state.find({"_id": {"$gt": after}}, collation=SIMPLE)
        following = cursor.sort("_id", ASCENDING).limit(limit + 1)
        found = await self._connection.read(lambda: following.to_list(None))
        page = found[:limit]
        rows: list[StateRow] = []
        for document in page:
            rows += self._own.convert(document, _row) or ()
        return StatePage(rows, page[-1]["_id"] if len(found) > limit else "")

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        self._require_open()
        await update_all(self._connection, self._state, updates_of(rows))


def _row(document: Document) -> list[StateRow]:
    return [to_row(document)]
