"""The collections of one store, opened and closed."""

from __future__ import annotations

import asyncio

from chatsvc.core.errors import StoreUnavailable
from chatsvc.storage.mongo import migrations
from chatsvc.storage.mongo.collections import CollectionNames, inspect
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.own_documents import OwnDocuments
from chatsvc.storage.ports.lifecycle import StoreLifecycle, Versions


class MongoDatabase(StoreLifecycle):
    """The collections, with a client to write and one to read.

    Documents in them that are not chatsvc's are passed over.

    Args:
        uri, db, collection: where; the URI's own read and write concerns give way to
            majority, journaled, from the primary, and a collection's collation to none.
        read_seconds, write_seconds: the most a call of either kind takes.
        selection_seconds: the most that finding a server takes.

    Raises:
        ConfigurationError: the URI cannot be used; the text does not repeat it.
    """

    def __init__(
        self,
        uri: str,
        db: str,
        collection: str,
        *,
        read_seconds: float,
        write_seconds: float,
        selection_seconds: float,
    ) -> None:
        connection = MongoConnection(
            uri,
            db,
            collection,
            read_seconds=read_seconds,
            write_seconds=write_seconds,
            selection_seconds=selection_seconds,
        )
        names = CollectionNames.of(collection)
        self._connection = connection
        self._names = names
        self._messages = connection.to_write(names.messages)
        self._conversations = connection.to_write(names.conversations)
        self._meta = connection.to_write(names.meta)
        self._read_messages = connection.to_read(names.messages)
        self._read_conversations = connection.to_read(names.conversations)
        self._read_letters = connection.to_read(names.dead_letters)
        self._read_meta = connection.to_read(names.meta)
        self._own = OwnDocuments(connection, self._read_messages)
        self._identity: str | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._identity is not None:
                return
            await inspect(self._connection, self._messages, [self._conversations, self._meta])
            self._identity = await migrations.bring_up(self._connection, self._names)

    async def versions(self) -> Versions:
        meta = await self._connection.read(
            lambda: self._read_meta.find_one(migrations.STORE, collation=SIMPLE)
        )
        return Versions(int(meta["v"]) if meta else 0, len(migrations.STEPS))

    async def ping(self) -> None:
        await self._connection.ping()

    async def close(self) -> None:
        self._identity = None
        self._connection.close()

    def _require_open(self) -> None:
        if self._identity is None:
            raise StoreUnavailable("the store is not open yet")
