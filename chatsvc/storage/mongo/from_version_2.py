"""A store of version 2 upgraded to version 3: large sets are kept by conversation.

In version 2 every message names its people twice, and has an index entry for each. What is
changed: conversations say whether they are large and how far their records go, large ones get
documents for their members, and their messages lose their people. Messages of small sets stay as
they are. The index that is not used any more is dropped last.

All of it goes in batches, and each is done before the progress is noted, in the collection
``meta``. A batch that was done already is done again without effect.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from pymongo import ASCENDING
from pymongo.errors import OperationFailure, PyMongoError

from chatsvc.core.audience import is_large
from chatsvc.storage.mongo.bulk import Update, update_all
from chatsvc.storage.mongo.collections import CollectionNames, is_our_id, our_ids
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import cause_of, unavailable
from chatsvc.storage.mongo.large_set_writes import add_members

_PROGRESS: Final = {"_id": "upgrade_to_3"}
_CONVERSATIONS_AT_ONCE: Final = 100
_MESSAGES_AT_ONCE: Final = 1000
_WITHOUT_PEOPLE: Final = {"$set": {"v": 2}, "$unset": {"audience": "", "participants": ""}}
_LOGGED_EVERY: Final = 100_000
_NOTHING_THERE: Final = frozenset({26, 27})  # NamespaceNotFound, IndexNotFound

_logger = structlog.get_logger("chatsvc.store")


async def upgrade(connection: MongoConnection, names: CollectionNames) -> None:
    """Upgrade what is not yet, from where the last attempt was ended.

    Raises:
        StoreUnavailable: MongoDB does not answer.
    """
    await _Upgrade(connection, names).run()


class _Upgrade:
    """See the module's text."""

    def __init__(self, connection: MongoConnection, names: CollectionNames) -> None:
        self._connection = connection
        self._messages = connection.to_write(names.messages)
        self._conversations = connection.to_write(names.conversations)
        self._members = connection.to_write(names.members)
        self._meta = connection.to_write(names.meta)

    async def run(self) -> None:
        progress = await self._connection.write(
            lambda: self._meta.find_one(_PROGRESS, collation=SIMPLE)
        ) or {}  # fmt: skip
        await self._all_conversations(progress.get("conversations", ""))
        await self._all_messages(progress.get("messages"))
        await self._drop(self._messages, "user_page")
        await self._connection.write(lambda: self._meta.delete_one(_PROGRESS, collation=SIMPLE))

    async def _all_conversations(self, after: str) -> None:
        fields = {"participants": 1, "last_id": 1}
        while True:
            query = {"_id": {"$gt": after}}
            cursor = self._conversations.find(query, fields, collation=SIMPLE)
            found = await self._listed(cursor.sort("_id", ASCENDING).limit(_CONVERSATIONS_AT_ONCE))
            if not found:
                return
            ours = [one for one in found if _is_conversation(one)]
            large = [one for one in ours if is_large(tuple(one["participants"]))]
            await add_members(
                self._connection, self._members, [(o["_id"], o["participants"]) for o in large]
            )
            await update_all(self._connection, self._conversations, map(_conversation, ours))
            after = found[-1]["_id"]
            await self._note({"conversations": after})

    async def _all_messages(self, after: str | None) -> None:
        seen = logged = 0
        while True:
            cursor = self._messages.find(our_ids(above=after), {"_id": 1}, collation=SIMPLE)
            found = await self._listed(cursor.sort("_id", ASCENDING).limit(_MESSAGES_AT_ONCE))
            if not found:
                return
            last: str = found[-1]["_id"]
            large = {
                "_id": {"$gte": found[0]["_id"], "$lte": last},
                "v": 1,
                "rev": {"$type": "string"},
                "channel": {"$type": "string"},
                "digest": {"$exists": True},
                "audience.4": {"$exists": True},
            }
            await self._move_on_conversations(large)
            await self._connection.write(
                lambda large=large: self._messages.update_many(  # type: ignore[misc]
                    large, _WITHOUT_PEOPLE, collation=SIMPLE
                )
            )
            after = last
            await self._note({"messages": after})
            seen += len(found)
            if seen >= logged + _LOGGED_EVERY:
                logged = seen
                _logger.info("store_partly_upgraded", messages=seen)

    async def _move_on_conversations(self, large: Document) -> None:
        """Make the conversations of these messages where one is missing or behind.

        So it is where a process died between the two.
        """
        newest = self._messages.aggregate(
            [{"$match": large}, {"$group": {"_id": "$channel", "newest": {"$max": "$_id"}}}],
            collation=SIMPLE,
        )
        wanted = {one["_id"]: one["newest"] for one in await self._listed(newest)}
        if not wanted:
            return
        known = {"_id": {"$in": list(wanted)}, "large": True}
        cursor = self._conversations.find(known, {"last_id": 1}, collation=SIMPLE)
        for one in await self._listed(cursor):
            if one["last_id"] >= wanted[one["_id"]]:
                del wanted[one["_id"]]
        for position in wanted.values():
            await self._move_on(position)

    async def _move_on(self, position: str) -> None:
        newest = await self._connection.write(
            lambda: self._messages.find_one({"_id": position}, collation=SIMPLE)
        )
        if newest is None or "participants" not in newest:
            return  # another process was here first
        channel, people = newest["channel"], newest["participants"]
        await add_members(self._connection, self._members, [(channel, people)])
        listed = {
            "participants": people,
            "large": True,
            "last_id": position,
            "last_message": newest,
        }
        older = {"_id": channel, "last_id": {"$lt": position}}
        change = {"$set": listed, "$max": {"last_record": position}}
        await update_all(self._connection, self._conversations, [Update(older, change)])

    async def _drop(self, collection: Collection, index: str) -> None:
        try:
            await self._connection.attempt(lambda: collection.drop_index(index))
        except OperationFailure as exc:
            if exc.code not in _NOTHING_THERE:
                raise unavailable(exc) from cause_of(exc)
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)

    async def _note(self, progress: Document) -> None:
        change = {"$set": progress}
        await self._connection.write(
            lambda: self._meta.update_one(_PROGRESS, change, upsert=True, collation=SIMPLE)
        )

    async def _listed(self, cursor: Any) -> list[Document]:
        found: list[Document] = await self._connection.write(lambda: cursor.to_list(None))
        return found


def _is_conversation(document: Document) -> bool:
    people = document.get("participants")
    return (
        is_our_id(document.get("last_id"))
        and isinstance(people, list)
        and all(isinstance(user, str) for user in people)
    )


def _conversation(document: Document) -> Update:
    change: Document = {"$max": {"last_record": document["last_id"]}}
    if is_large(tuple(document["participants"])):
        change |= {"$set": {"large": True}, "$unset": {"audience": ""}}
    return Update({"_id": document["_id"]}, change, upsert=False)
