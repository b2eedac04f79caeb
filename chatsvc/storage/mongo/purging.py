"""Old records deleted from MongoDB, with the conversations that end with them."""

from __future__ import annotations

from pymongo import ASCENDING

from chatsvc.core.ids import format_id
from chatsvc.storage.mongo import conversation_updates
from chatsvc.storage.mongo.collections import LOWEST, our_messages
from chatsvc.storage.mongo.connection import SIMPLE, Collection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.ports.messages import MessagePurger


class MongoPurging(MongoDatabase, MessagePurger):
    """Deletes old messages and changes."""

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self._require_open()
        below = format_id(before_id)
        messages = await self._oldest(self._messages, our_messages(below=below), "_id", limit)
        old_changes = {"id": {"$gte": LOWEST, "$lt": below}}
        changes = await self._oldest(self._changes, old_changes, "id", limit)
        oldest = sorted([*messages, *changes])[:limit]
        if not oldest:
            await self._large_set_writes.end_left_over(before_id, limit)
            return 0
        channels = list({channel for _, channel in oldest})
        last = int(oldest[-1][0], 16)
        # First the conversations: left behind, one would be listed with what is not there.
        await conversation_updates.delete_ended(
            self._connection, self._conversations, channels, last
        )
        await self._large_set_writes.end(channels, last)
        deleted = await self._delete(self._messages, "_id", messages, last)
        return deleted + await self._delete(self._changes, "id", changes, last)

    async def _oldest(
        self, collection: Collection, query: Document, by: str, limit: int
    ) -> list[tuple[str, str]]:
        """Ids and channels, ascending."""
        cursor = collection.find(query, {by: 1, "channel": 1}, collation=SIMPLE)
        oldest = cursor.sort(by, ASCENDING).limit(limit)
        found = await self._connection.write(lambda: oldest.to_list(None))
        return [(document[by], str(document.get("channel"))) for document in found]

    async def _delete(
        self, collection: Collection, by: str, oldest: list[tuple[str, str]], last: int
    ) -> int:
        ids = [position for position, _ in oldest if position <= format_id(last)]
        if not ids:
            return 0
        selected = {by: {"$in": ids}}
        deleted = await self._connection.write(
            lambda: collection.delete_many(selected, collation=SIMPLE)
        )
        return int(deleted.deleted_count)
