"""What a batch of stored records changes in the documents of their conversations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chatsvc.core.ids import format_id
from chatsvc.core.membership import is_member_channel
from chatsvc.core.record import Record
from chatsvc.storage.mongo.bulk import Update, update_all
from chatsvc.storage.mongo.collections import LOWEST
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, Encoded, has_audience


class BatchConversations:
    """The newest record of each conversation of a batch, as they come.

    Both halves are ``last_record``, which the large sets have beforehand
    (:mod:`chatsvc.storage.mongo.large_set_writes`), and what a conversation is listed by. A group
    or a room is listed by a message of its members': who is none any more needs another one, so
    its document names the message and does not hold it.
    """

    def __init__(self) -> None:
        self._messages: dict[str, Encoded] = {}
        self._changes: dict[str, Record] = {}

    def add_messages(self, stored: Iterable[Encoded]) -> None:
        """Messages that were stored, ascending by id."""
        self._messages |= {
            one.record.channel: one
            for one in stored
            if not (is_member_channel(one.record.channel) and one.record.audience)
        }

    def add_changes(self, stored: Iterable[Record]) -> None:
        """Changes that were stored, ascending by id; only those of small sets do anything here."""
        self._changes |= {
            one.channel: one
            for one in stored
            if has_audience(one) and not is_member_channel(one.channel)
        }

    async def write(self, connection: MongoConnection, conversations: Collection) -> None:
        """Make or move on their documents.

        Raises:
            StoreUnavailable: MongoDB does not answer, or did not take them.
        """
        updates = [_listed_by(one) for one in self._messages.values()]
        for channel, change in self._changes.items():
            message = self._messages.get(channel)
            if message is None or message.record.id < change.id:
                updates.append(_moved_by(change))
        await update_all(connection, conversations, updates)


async def delete_ended(
    connection: MongoConnection, conversations: Collection, channels: Sequence[str], last: int
) -> None:
    """Take conversations out of the lists whose newest message is not above ``last``.

    Of small sets that have no record above it nothing is left.

    Raises:
        StoreUnavailable: MongoDB does not answer, or did not take it.
    """
    position = format_id(last)
    ended = {
        "_id": {"$in": channels},
        "last_record": {"$lte": position},
        "large": {"$exists": False},
    }
    await connection.write(lambda: conversations.delete_many(ended, collation=SIMPLE))
    unlisted = {"_id": {"$in": channels}, "last_id": {"$gt": LOWEST, "$lte": position}}
    change = {"$set": {"last_id": LOWEST}, "$unset": {"last_message": ""}}
    await connection.write(lambda: conversations.update_many(unlisted, change, collation=SIMPLE))


def _listed_by(one: Encoded) -> Update:
    """By a message. A conversation never goes back: only from an older one."""
    position = format_id(one.record.id)
    query = {"_id": one.record.channel, "last_id": {"$lt": position}}
    if is_member_channel(one.record.channel):
        return Update(query, {"$set": {"last_id": position}}, upsert=False)
    listed: Document = {"last_id": position, "last_message": one.document}
    if not has_audience(one.record):
        return Update(query, {"$set": listed}, upsert=False)
    people = list(one.record.audience)
    return Update(
        query,
        {
            "$set": {"participants": people, "audience": people, **listed},
            "$max": {"last_record": position},
        },
    )


def _moved_by(change: Record) -> Update:
    """By a change to a small set, which is not listed for it."""
    people = list(change.audience)
    fresh = {"participants": people, "audience": people, "last_id": LOWEST}
    return Update(
        {"_id": change.channel},
        {"$setOnInsert": fresh, "$max": {"last_record": format_id(change.id)}},
    )
