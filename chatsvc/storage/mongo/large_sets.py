"""The large sets of a user, and the participants of each (:mod:`chatsvc.core.audience`).

Conversations are keyed by their channel. A number of our own would have to be given out by a
counter, and would have to be written into every message of version 1, while MongoDB's indexes
keep what neighbouring keys have in common once, so a channel in each entry costs little.

Members are documents of their own, ``<user>,<channel>``: no user id has a comma, so those of a
user are one range of ``_id``. A list in the conversation's document would be an index entry for
each member again, moved with every message that moves the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from chatsvc.core.ids import format_id
from chatsvc.core.membership import is_member_channel
from chatsvc.storage.mongo.collections import CollectionNames
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.documents import Document, People

T = TypeVar("T")

AT_ONCE: Final = 1000
"""Channels that are asked for in one query."""


class LargeSet(NamedTuple):
    """A large set, and how far it goes: up to its newest message, up to its newest record.

    ``last_id`` is 0 where it has no message. No record is above ``last_record``, and there need
    not be one there.
    """

    channel: str
    last_id: int
    last_record: int


class LargeSets:
    """Reads what is known of large sets.

    Args:
        connection: the store's.
        names: of its collections.
    """

    def __init__(self, connection: MongoConnection, names: CollectionNames) -> None:
        self._connection = connection
        self._members = connection.to_read(names.members)
        self._conversations = connection.to_read(names.conversations)

    async def of(self, user: str, *, after: int = 0) -> list[LargeSet]:
        """Those of a user that may have a record above an id, in no order.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        mine = self._members.find(
            {"_id": {"$gte": f"{user},", "$lt": f"{user}-"}}, {"channel": 1}, collation=SIMPLE
        ).batch_size(AT_ONCE)
        members = await self._connection.read(lambda: mine.to_list(None))
        return await self.reaching([member["channel"] for member in members], after=after)

    async def reaching(self, channels: Sequence[str], *, after: int = 0) -> list[LargeSet]:
        """Those of the channels that may have a record above an id, in no order.

        Groups and rooms are kept the same way.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        found: list[LargeSet] = []
        above = {"$gt": format_id(max(after, 0))}
        for part in in_parts(channels):
            # Exactly the fields of an index, which alone is read.
            cursor = self._conversations.find(
                {"large": True, "_id": {"$in": part}, "last_record": above},
                {"last_record": 1, "last_id": 1},
                collation=SIMPLE,
            ).batch_size(AT_ONCE)
            documents = await self._connection.read(lambda cursor=cursor: cursor.to_list(None))  # type: ignore[misc]
            found += map(_large_set, documents)
        return found

    async def look_up(self, documents: Iterable[Document], known: dict[str, People]) -> None:
        """Add to ``known`` the participants that these documents of records do not have.

        A part of another call of :class:`~chatsvc.storage.mongo.connection.MongoConnection`.

        Raises:
            PyMongoError: the driver's own.
        """
        wanted = {
            channel
            for document in documents
            if "audience" not in document
            and "participants" not in document
            and isinstance(channel := document.get("channel"), str)
            and not is_member_channel(channel)
            and channel not in known
        }
        if not wanted:
            return
        found = self._conversations.find(
            {"_id": {"$in": sorted(wanted)}}, {"participants": 1}, collation=SIMPLE
        )
        for document in await found.to_list(None):
            known[document["_id"]] = tuple(document["participants"])


def member_id(user: str, channel: str) -> str:
    """The ``_id`` of a member of a large set."""
    return f"{user},{channel}"


def in_parts(whole: Sequence[T], size: int = AT_ONCE) -> list[Sequence[T]]:
    """As many lists as are needed, each of at most so many."""
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _large_set(document: Document) -> LargeSet:
    return LargeSet(document["_id"], int(document["last_id"], 16), int(document["last_record"], 16))
