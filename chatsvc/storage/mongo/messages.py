"""Messages in MongoDB, read."""

from __future__ import annotations

import asyncio

from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.mongo.collections import newest_id, our_messages
from chatsvc.storage.mongo.documents import to_entry
from chatsvc.storage.mongo.entries import MongoEntries, Source
from chatsvc.storage.ports.messages import MessageReader


class MongoMessages(MongoEntries, MessageReader):
    """Finds messages."""

    async def head(self) -> int:
        self._require_open()
        return max(
            await asyncio.gather(
                newest_id(self._connection, self._read_messages, our_messages()),
                newest_id(self._connection, self._read_changes, {}, by="id"),
            )
        )

    async def get(self, message_id: int) -> Entry | None:
        self._require_open()
        return await self._entry(self._message_source(), message_id)

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._channel_entries(channel, bounds, [self._message_source()])

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._user_entries(user, bounds, [self._message_source()])

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return await self._count_user_entries(user, bounds, [self._message_source()])

    def _message_source(self) -> Source:
        return Source(self._read_messages, "_id", to_entry)
