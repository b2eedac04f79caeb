"""Reads of history from MongoDB: one walk along an index each, documents of ours alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from pymongo import ASCENDING, DESCENDING

from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.base import Conversation
from chatsvc.storage.mongo_collections import is_our_id, our_messages
from chatsvc.storage.mongo_connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo_documents import Document, id_range, to_conversation, to_entry

T = TypeVar("T")

_logger = structlog.get_logger("chatsvc.store")


class MongoReads:
    """See :class:`~chatsvc.storage.base.MessageStore`, whose methods of these names it serves.

    Args:
        connection: the store's.
        collection: of the messages.
    """

    def __init__(self, connection: MongoConnection, collection: str) -> None:
        self._connection = connection
        self._messages = connection.to_read(collection)
        self._conversations = connection.to_read(f"{collection}_conversations")
        self._told_of_foreign = False

    async def head(self) -> int:
        """The highest ``rev``: as long as nothing changes a stored message, the highest id."""
        found = await self._find(self._messages, our_messages(), by="_id", newest=True, limit=1)
        return int(found[0]["_id"], 16) if found else 0

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        """Messages of one conversation, ascending."""
        return await self._page({"channel": channel}, "_id", bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        """Messages whose audience holds the user, ascending by ``rev``."""
        return await self._page({"audience": user}, "rev", bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        """How many of them, up to the bounds' limit."""
        if bounds.limit < 1:
            return 0
        query = {"audience": user, "rev": id_range(bounds)}
        return await self._connection.read(
            lambda: self._messages.count_documents(query, limit=bounds.limit, collation=SIMPLE)
        )

    async def conversations(self, user: str, bounds: Bounds) -> list[Conversation]:
        """Newest first."""
        query = {"audience": user}
        return await self._collect(self._conversations, query, "last_id", bounds, to_conversation)

    async def get(self, message_id: int) -> Entry | None:
        """One message."""
        query = {"_id": format_id(message_id)}
        found = await self._connection.read(
            lambda: self._messages.find_one(query, collation=SIMPLE)
        )
        return self._ours(found, to_entry) if found else None

    async def find_client_id(
        self, sender: str, channel: str, client_id: str
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key."""
        found = await self._collect(
            self._messages,
            {"sender": sender, "channel": channel, "client_id": client_id},
            "_id",
            Bounds(1, newest=False),
            lambda document: (int(document["_id"], 16), bytes(document["digest"])),
        )
        return found[0] if found else None

    async def _page(self, query: Document, by: str, bounds: Bounds) -> list[Entry]:
        found = await self._collect(self._messages, query, by, bounds, to_entry)
        if bounds.newest:
            found.reverse()
        return found

    async def _collect(
        self,
        collection: Collection,
        query: Document,
        by: str,
        bounds: Bounds,
        convert: Callable[[Document], T],
    ) -> list[T]:
        """Documents of ours in the order asked for. Those of others are made up for, or the
        page would look like the last."""
        found: list[T] = []
        between = id_range(bounds)
        while True:
            wanted = bounds.limit - len(found)
            documents = await self._find(
                collection, query | {by: between}, by=by, newest=bounds.newest, limit=wanted
            )
            converted = [self._ours(document, convert) for document in documents]
            found.extend(one for one in converted if one is not None)
            if len(documents) < wanted or len(found) >= bounds.limit:
                return found
            between = between | {"$lt" if bounds.newest else "$gt": documents[-1][by]}

    def _ours(self, document: Document, convert: Callable[[Document], T]) -> T | None:
        """The document as what it should be, or ``None`` where it is nothing of ours.

        Raises:
            VersionTooNew: it was written by a newer program.
        """
        try:
            return convert(document)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            if not self._told_of_foreign:
                self._told_of_foreign = True
                found = document.get("_id")
                shown = found if is_our_id(found) else type(found).__name__
                _logger.warning(
                    "foreign_document_passed_over",
                    collection=self._messages.full_name,
                    id=shown,
                    error=type(exc).__name__,
                )
            return None

    async def _find(
        self, collection: Collection, query: Document, *, by: str, newest: bool, limit: int
    ) -> list[Document]:
        if limit < 1:
            return []  # to MongoDB, a limit of 0 is none
        order = DESCENDING if newest else ASCENDING
        cursor = collection.find(query).collation(SIMPLE).sort(by, order)
        one_batch = cursor.limit(limit).batch_size(limit)
        found: list[Document] = await self._connection.read(lambda: one_batch.to_list(None))
        return found
