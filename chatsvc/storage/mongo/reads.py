"""Reads of history from MongoDB: one walk along an index each, documents of ours alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from pymongo import ASCENDING, DESCENDING

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import format_id
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, Entry
from chatsvc.storage.mongo.collections import is_our_id, our_messages
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, id_range, to_conversation, to_entry
from chatsvc.storage.mongo.pages import read_page
from chatsvc.storage.ports.client_ids import ClientIdAt
from chatsvc.storage.ports.conversations import Members

T = TypeVar("T")

_logger = structlog.get_logger("chatsvc.store")


class MongoReads:
    """See ``chatsvc.storage.ports``, whose methods of these names it serves.

    Args:
        connection: the store's.
        collection: of the messages.
    """

    def __init__(self, connection: MongoConnection, collection: str) -> None:
        self._connection = connection
        self._messages = connection.to_read(collection)
        self._conversations = connection.to_read(f"{collection}_conversations")
        self._foreign_logged = False

    async def head(self) -> int:
        """The highest ``rev``: as long as nothing changes a stored message, the highest id."""
        cursor = self._messages.find(our_messages(), collation=SIMPLE).sort("_id", DESCENDING)
        one = cursor.limit(1)
        found = await self._connection.read(lambda: one.to_list(None))
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
        return await self._collect(
            self._conversations, query, "last_id", bounds, to_conversation, _message_size
        )

    async def members(self, user: str, channel: str) -> Members | None:
        """Who is in a conversation of the user's."""
        query = {"_id": channel, "audience": user}
        fields = {"participants": 1, "last_id": 1}
        found = await self._connection.read(
            lambda: self._conversations.find_one(query, fields, collation=SIMPLE)
        )
        return self._ours(found, _members) if found else None

    async def get(self, message_id: int) -> Entry | None:
        """One message."""
        query = {"_id": format_id(message_id)}
        found = await self._connection.read(
            lambda: self._messages.find_one(query, collation=SIMPLE)
        )
        return self._ours(found, to_entry) if found else None

    async def find_client_id(
        self, key: tuple[str, str, str], after: int
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key, above an id."""
        sender, channel, client_id = key
        found = await self._collect(
            self._messages,
            {"sender": sender, "channel": channel, "client_id": client_id},
            "_id",
            Bounds(1, after=after, newest=False),
            lambda document: (int(document["_id"], 16), bytes(document["digest"])),
            lambda _: 0,
        )
        return found[0] if found else None

    async def client_ids_above(self, after: int, limit: int) -> list[ClientIdAt]:
        """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.client_ids_above`."""
        return await self._collect(
            self._messages,
            {},
            "_id",
            Bounds(limit, after=after, newest=False, max_bytes=NO_BYTE_BOUND),
            _client_id_at,
            lambda _: 0,
            fields={"sender": 1, "client_id": 1},
        )

    async def _page(self, query: Document, by: str, bounds: Bounds) -> list[Entry]:
        found = await self._collect(self._messages, query, by, bounds, to_entry, _body_size)
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
        size: Callable[[T], int],
        fields: Document | None = None,
    ) -> list[T]:
        """Documents of chatsvc in the order asked for, as far as the bounds go.

        For each document that is not, one more is read, or the page would look like the last
        one.
        """
        found: list[T] = []
        between = id_range(bounds)
        bytes_left = bounds.max_bytes
        while (wanted := bounds.limit - len(found)) > 0:  # to MongoDB, a limit of 0 is none
            seen: list[Document] = []

            def take(document: Document, seen: list[Document] = seen) -> T | None:
                seen.append({by: document[by]})
                return self._ours(document, convert)

            cursor = collection.find(query | {by: between}, fields, collation=SIMPLE)
            ordered = cursor.sort(by, DESCENDING if bounds.newest else ASCENDING)
            part = await self._connection.read(
                partial(read_page, ordered, take, size, limit=wanted, max_bytes=max(bytes_left, 0))
            )
            found.extend(part)
            bytes_left -= sum(map(size, part))
            if len(seen) < wanted or len(seen) == len(part) or (bytes_left < 0 and len(found) > 1):
                break
            between = between | {"$lt" if bounds.newest else "$gt": seen[-1][by]}
        return found

    def _ours(self, document: Document, convert: Callable[[Document], T]) -> T | None:
        """The document as what it should be, or ``None`` where it is nothing of ours.

        Raises:
            VersionTooNew: it was written by a newer program.
        """
        try:
            return convert(document)
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            if not self._foreign_logged:
                self._foreign_logged = True
                found = document.get("_id")
                shown = found if is_our_id(found) else type(found).__name__
                _logger.warning(
                    "foreign_document_passed_over",
                    collection=self._messages.full_name,
                    id=shown,
                    error=type(exc).__name__,
                )
            return None


def _body_size(entry: Entry) -> int:
    return len(entry.body)


def _message_size(conversation: Conversation) -> int:
    return len(conversation.last_message)


def _client_id_at(document: Document) -> ClientIdAt:
    sender, client_id = document["sender"], document.get("client_id")
    if not isinstance(sender, str) or not isinstance(client_id, str | None):
        raise TypeError("not a message of chatsvc")
    return ClientIdAt(int(document["_id"], 16), sender, client_id)


def _members(document: Document) -> Members:
    return Members(tuple(document["participants"]), int(document["last_id"], 16))
