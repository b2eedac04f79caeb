"""Large sets begun before their first record, and ended with their last.

A record of a large set is found through three things: a member's document, the conversation's
document with the participants, and its ``last_record``, by which a resume leaves out what cannot
have anything new. They are written in this order, all before the record:

1. the members, where the conversation is not there yet;
2. the conversation, with ``last_record`` raised to the batch's newest record in it;
3. the records;
4. ``last_id`` and ``last_message``, by which it is listed and counted as a conversation.

So at whatever point a process dies, what is stored is found, and nothing is told of that is not
stored: members without a conversation are passed over, a ``last_record`` that is too high only
makes a reader look in vain, and what is listed follows what is stored.

Groups and rooms are kept as large sets are, but nobody is listed with them: who is a member, the
rows of the log's state say. A record of theirs that names whom it is for is found by its own
document, and changes nothing here.

A set is ended the other way round: its conversation is marked, the members go, and it goes last.
One that is marked counts as not there when a record is to be written, so its members are written
again; one that was left marked is found by its ``last_record``. No two of these run at once in a
process: a lock is held for as long as a set is begun or ended. After it was begun its
``last_record`` is above what is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from pymongo import InsertOne

from chatsvc.core.ids import format_id
from chatsvc.core.membership import is_member_channel
from chatsvc.core.record import Record
from chatsvc.storage.mongo.bulk import Update, bulk, update_all
from chatsvc.storage.mongo.collections import LOWEST, CollectionNames
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, has_audience
from chatsvc.storage.mongo.large_sets import in_parts, member_id

_SETS_AT_ONCE: Final = 20
"""Sets that are ended while the lock is held."""


class LargeSetWrites:
    """Begins and ends large sets; see the module's text.

    Args:
        connection: the store's.
        names: of its collections.
    """

    def __init__(self, connection: MongoConnection, names: CollectionNames) -> None:
        self._connection = connection
        self._conversations = connection.to_write(names.conversations)
        self._members = connection.to_write(names.members)
        self._lock = asyncio.Lock()

    async def begin(self, records: Iterable[Record]) -> None:
        """Make the large sets of records that are about to be written, or move them on.

        Raises:
            StoreUnavailable: MongoDB does not answer, or did not take them.
        """
        newest: dict[str, Record] = {}
        for one in records:
            held = newest.get(one.channel)
            if not has_audience(one) and (held is None or one.id > held.id):
                newest[one.channel] = one
        if not newest:
            return
        async with self._lock:
            begun = await self._begun(list(newest))
            new = [one for channel, one in newest.items() if channel not in begun]
            await add_members(
                self._connection, self._members, [(one.channel, one.audience) for one in new]
            )
            moved = [one for channel, one in newest.items() if channel in begun]
            updates = [*map(_begin, new), *map(_move_on, moved)]
            await update_all(self._connection, self._conversations, updates)

    async def end(self, channels: Sequence[str], last: int) -> None:
        """Remove those of the sets that have no record above ``last``.

        Raises:
            StoreUnavailable: what is left is found by :meth:`end_left_over`.
        """
        for part in in_parts(channels, _SETS_AT_ONCE):
            async with self._lock:
                await self._end({"_id": {"$in": part}, "large": True}, format_id(last))

    async def end_left_over(self, before: int, limit: int) -> None:
        """Remove sets below ``before`` although no record of theirs is left to be deleted.

        Their last record was refused, or a process died over them. At most ``limit``.

        Raises:
            StoreUnavailable: what is left is found by the next call.
        """
        over = {"large": True, "last_record": {"$lt": format_id(before)}}
        cursor = self._conversations.find(over, {"_id": 1}, collation=SIMPLE).limit(limit)
        found = await self._connection.write(lambda: cursor.to_list(None))
        await self.end([document["_id"] for document in found], before - 1)

    async def _begun(self, channels: Sequence[str]) -> set[str]:
        begun = {"_id": {"$in": channels}, "large": True, "ending": {"$exists": False}}
        cursor = self._conversations.find(begun, {"_id": 1}, collation=SIMPLE)
        found = await self._connection.write(lambda: cursor.to_list(None))
        return {document["_id"] for document in found}

    async def _end(self, which: Document, last: str) -> None:
        over = which | {"last_record": {"$lte": last}}
        mark = {"$set": {"ending": True}}
        marked = await self._connection.write(
            lambda: self._conversations.update_many(over, mark, collation=SIMPLE)
        )
        if not marked.matched_count:
            return
        ending = which | {"ending": True}
        cursor = self._conversations.find(ending, {"participants": 1}, collation=SIMPLE)
        for document in await self._connection.write(lambda: cursor.to_list(None)):
            people = document.get("participants", ())
            ids = [member_id(user, document["_id"]) for user in people]
            members = {"_id": {"$in": ids}}
            await self._connection.write(
                lambda members=members: self._members.delete_many(members, collation=SIMPLE)  # type: ignore[misc]
            )
        await self._connection.write(
            lambda: self._conversations.delete_many(ending, collation=SIMPLE)
        )


async def add_members(
    connection: MongoConnection,
    members: Collection,
    sets: Sequence[tuple[str, Sequence[str]]],
) -> None:
    """Write the members of large sets, given by channel and participants; again does no harm.

    Raises:
        StoreUnavailable: MongoDB does not answer, or did not take them.
    """
    inserts = [
        InsertOne({"_id": member_id(user, channel), "user": user, "channel": channel})
        for channel, people in sets
        for user in people
    ]
    if inserts:
        await bulk(connection, members, inserts)


def _begin(newest: Record) -> Update:
    fresh: Document = {"large": True, "last_id": LOWEST}
    if not is_member_channel(newest.channel):
        fresh["participants"] = list(newest.audience)
    return Update(
        {"_id": newest.channel},
        {
            "$setOnInsert": fresh,
            "$max": {"last_record": format_id(newest.id)},
            "$unset": {"ending": ""},
        },
    )


def _move_on(newest: Record) -> Update:
    # Without the participants: they would be sent with every record of their conversation.
    change = {"$max": {"last_record": format_id(newest.id)}}
    return Update({"_id": newest.channel}, change, upsert=False)
