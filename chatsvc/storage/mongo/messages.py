"""Messages in MongoDB, read."""

from __future__ import annotations

from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.mongo.collections import newest_id, our_messages
from chatsvc.storage.mongo.connection import SIMPLE
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document, id_range, to_entry
from chatsvc.storage.ports.messages import MessageReader


class MongoMessages(MongoDatabase, MessageReader):
    """Finds messages."""

    async def head(self) -> int:
        self._require_open()
        # As long as nothing changes a stored message, the highest ``rev`` is the highest id.
        return await newest_id(self._connection, self._read_messages, our_messages())

    async def get(self, message_id: int) -> Entry | None:
        self._require_open()
        query = {"_id": format_id(message_id)}
        found = await self._connection.read(
            lambda: self._read_messages.find_one(query, collation=SIMPLE)
        )
        return self._own.convert(found, to_entry) if found else None

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        self._require_open()
        return await self._page({"channel": channel}, "_id", bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self._require_open()
        return await self._page({"audience": user}, "rev", bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        self._require_open()
        if bounds.limit < 1:
            return 0
        query = {"audience": user, "rev": id_range(bounds)}
        return await self._connection.read(
            lambda: self._read_messages.count_documents(query, limit=bounds.limit, collation=SIMPLE)
        )

    async def _page(self, query: Document, by: str, bounds: Bounds) -> list[Entry]:
        found = await self._own.collect(
            self._read_messages, query, by, bounds, to_entry, _body_size
        )
        if bounds.newest:
            found.reverse()
        return found


def _body_size(entry: Entry) -> int:
    return len(entry.body)
