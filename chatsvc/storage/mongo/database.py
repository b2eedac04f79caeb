"""The collections of one store, opened and closed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.kinds import Kinds
from chatsvc.storage.mongo import migrations
from chatsvc.storage.mongo.collections import CollectionNames, inspect
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.insertion import Insertion
from chatsvc.storage.mongo.large_set_writes import LargeSetWrites
from chatsvc.storage.mongo.large_sets import LargeSets
from chatsvc.storage.mongo.listed_channels import ListedChannels
from chatsvc.storage.mongo.member_channels import MemberChannels
from chatsvc.storage.mongo.own_documents import OwnDocuments
from chatsvc.storage.ports.lifecycle import StoreLifecycle, Versions

_PATIENT_SECONDS: Final = 86_400.0
"""How long a call of a migration may take: an index of a large collection is one."""


class MongoDatabase(StoreLifecycle):
    """The collections, with a client to write and one to read.

    Documents in them that are not chatsvc's are passed over.

    Args:
        uri, db, collection: where; the URI's own read and write concerns give way to
            majority, journaled, from the primary, and a collection's collation to none.
        read_seconds, write_seconds: the most a call of either kind takes.
        selection_seconds: the most that finding a server takes.
        kinds: those of the records that it takes.
        upgrades: whether :meth:`open` upgrades a store of any size, for as long as it takes.

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
        kinds: Kinds,
        upgrades: bool,
    ) -> None:
        self._connect = partial(
            MongoConnection, uri, db, collection, selection_seconds=selection_seconds
        )
        self._upgrades = upgrades
        connection = self._connect(read_seconds=read_seconds, write_seconds=write_seconds)
        names = CollectionNames.of(collection)
        self._connection = connection
        self._names = names
        self._kinds = kinds
        self._messages = connection.to_write(names.messages)
        self._changes = connection.to_write(names.changes)
        self._conversations = connection.to_write(names.conversations)
        self._state = connection.to_write(names.state)
        self._meta = connection.to_write(names.meta)
        self._read_messages = connection.to_read(names.messages)
        self._read_changes = connection.to_read(names.changes)
        self._read_conversations = connection.to_read(names.conversations)
        self._read_state = connection.to_read(names.state)
        self._read_letters = connection.to_read(names.dead_letters)
        self._read_meta = connection.to_read(names.meta)
        self._own = OwnDocuments(connection, self._read_messages)
        self._large_sets = LargeSets(connection, names)
        self._member_channels = MemberChannels(connection, names, self._large_sets)
        self._listed_channels = ListedChannels(connection, self._read_messages, self._own)
        self._large_set_writes = LargeSetWrites(connection, names)
        self._message_insertion = Insertion(connection, self._messages, self._meta, by="_id")
        self._change_insertion = Insertion(connection, self._changes, self._meta, by="id")
        self._newest_change: int | None = None  # not known yet
        self._identity: str | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._identity is not None:
                return
            self._newest_change = None
            if not self._upgrades:
                self._identity = await self._bring_up(self._connection)
                return
            # A step of a large store takes longer than a call of the service may.
            patient = self._connect(read_seconds=_PATIENT_SECONDS, write_seconds=_PATIENT_SECONDS)
            try:
                self._identity = await self._bring_up(patient)
            finally:
                patient.close()

    async def versions(self) -> Versions:
        meta = await self._connection.read(
            lambda: self._read_meta.find_one(migrations.STORE, collation=SIMPLE)
        )
        return Versions(migrations.version_of(meta) if meta else 0, len(migrations.STEPS))

    async def ping(self) -> None:
        await self._connection.ping()

    async def close(self) -> None:
        self._identity = None
        self._connection.close()

    async def _bring_up(self, connection: MongoConnection) -> str:
        names = self._names
        others = [names.changes, names.conversations, names.members, names.state, names.meta]
        await inspect(
            connection, connection.to_write(names.messages), list(map(connection.to_write, others))
        )
        return await migrations.bring_up(connection, names, upgrades=self._upgrades)

    def _require_open(self) -> None:
        if self._identity is None:
            raise StoreUnavailable("the store is not open yet")
