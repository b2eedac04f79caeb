"""Conversations in MongoDB, each a document with its newest message."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import format_id
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document, Encoded, to_conversation
from chatsvc.storage.mongo.errors import DUPLICATE_KEY, cause_of, unavailable
from chatsvc.storage.ports.conversations import ConversationReader, Members


class MongoConversations(MongoDatabase, ConversationReader):
    """Lists conversations."""

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        self._require_open()
        query = {"audience": user}
        bounds = Bounds(limit, before=before, max_bytes=max_bytes)
        return await self._own.collect(
            self._read_conversations, query, "last_id", bounds, to_conversation, _message_size
        )

    async def members(self, user: str, channel: str) -> Members | None:
        self._require_open()
        query = {"_id": channel, "audience": user}
        fields = {"participants": 1, "last_id": 1}
        found = await self._connection.read(
            lambda: self._read_conversations.find_one(query, fields, collation=SIMPLE)
        )
        return self._own.convert(found, _members) if found else None


async def update(
    connection: MongoConnection, conversations: Collection, changes: Sequence[Encoded]
) -> None:
    """Make or move on the conversations of stored messages, the newest of each.

    Raises:
        StoreUnavailable: MongoDB does not answer, or did not take them.
    """
    if not changes:
        return
    updates = [_conversation_update(one, upsert=True) for one in changes]
    try:
        await connection.attempt(lambda: conversations.bulk_write(updates, ordered=False))
    except BulkWriteError as exc:
        details = exc.details or {}
        errors = details.get("writeErrors", ())
        if details.get("writeConcernErrors") or any(
            error.get("code") != DUPLICATE_KEY for error in errors
        ):
            raise unavailable(exc) from None
        # Either a newer message is there already, or another writer made the document
        # in between: once it exists, the same update without upsert tells them apart.
        again = [_conversation_update(changes[error["index"]], upsert=False) for error in errors]
        await connection.write(lambda: conversations.bulk_write(again, ordered=False))
    except PyMongoError as exc:
        raise unavailable(exc) from cause_of(exc)


async def delete_ended(
    connection: MongoConnection,
    conversations: Collection,
    channels: Sequence[str | None],
    message_ids: Sequence[str],
) -> None:
    """Remove those of the conversations whose newest message is among these."""
    ended = {"_id": {"$in": channels}, "last_id": {"$in": message_ids}}
    await connection.write(lambda: conversations.delete_many(ended, collation=SIMPLE))


def _conversation_update(one: Encoded, *, upsert: bool) -> UpdateOne:
    position = format_id(one.record.id)
    return UpdateOne(
        {"_id": one.record.channel, "last_id": {"$lt": position}},
        {
            "$set": {
                "participants": one.participants,
                "audience": list(one.record.audience),
                "last_id": position,
                "last_message": one.document,
            }
        },
        upsert=upsert,
        collation=SIMPLE,
    )


def _message_size(conversation: Conversation) -> int:
    return len(conversation.last_message)


def _members(document: Document) -> Members:
    return Members(tuple(document["participants"]), int(document["last_id"], 16))
