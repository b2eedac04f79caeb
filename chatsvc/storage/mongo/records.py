"""Records of every kind in MongoDB, read: messages, and changes beside them."""

from __future__ import annotations

from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.mongo.changes import change_entry
from chatsvc.storage.mongo.entries import Source
from chatsvc.storage.mongo.messages import MongoMessages
from chatsvc.storage.ports.records import RecordReader


class MongoRecords(MongoMessages, RecordReader):
    """Finds messages, and records of every kind."""

    async def get_record(self, record_id: int) -> Entry | None:
        self._require_open()
        for source in self._sources():
            entry = await self._entry(source, record_id)
            if entry is not None:
                return entry
        return None

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._user_entries(user, bounds, self._sources())

    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        return await self._channel_entries(channel, bounds, self._sources(), reader)

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        return await self._count_user_entries(user, bounds, self._sources())

    def _sources(self) -> list[Source]:
        # Of a hundred requests the keys are larger than the body that a page is bounded by.
        changes = Source(self._read_changes, "id", change_entry, {"requests": 0})
        return [self._message_source(), changes]
