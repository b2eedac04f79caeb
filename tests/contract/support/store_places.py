"""Where stores lie, to be opened again and again: one place for each backend."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.sqlite.store import SqliteStore
from testkit import mongod
from testkit.memory_store import MemoryDisk, MemoryStore
from testkit.records import KINDS

Open = Callable[[Projections], Awaitable[MessageStore]]
"""Opens a store with the rows of these."""


class Place(Protocol):
    """Where a store lies."""

    def make(self, projections: Projections = NO_PROJECTIONS) -> MessageStore:
        """Another store over the same data, not yet open."""

    async def set_version(self, version: int) -> None:
        """As if another program had written it."""

    async def replace(self) -> None:
        """Put an empty store in the place of the one that is open."""


class SqlitePlace:
    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, projections: Projections = NO_PROJECTIONS) -> SqliteStore:
        return SqliteStore(self.path, kinds=KINDS, projections=projections)

    async def set_version(self, version: int) -> None:
        with sqlite3.connect(self.path) as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(version),))
        db.close()

    async def replace(self) -> None:
        fresh = self.path.with_name("fresh.db")
        other = SqliteStore(fresh)
        await other.open()
        await other.close()
        fresh.rename(self.path)


class MongoPlace:
    def __init__(self, uri: str, db: str) -> None:
        self.uri = uri
        self.db = db

    def make(self, projections: Projections = NO_PROJECTIONS) -> MongoStore:
        return MongoStore(self.uri, self.db, "messages", kinds=KINDS, projections=projections)

    async def set_version(self, version: int) -> None:
        with mongod.client(self.uri) as client:
            meta = client[self.db]["messages_meta"]
            meta.update_one({"_id": "store"}, {"$set": {"v": version}})

    async def replace(self) -> None:
        with mongod.client(self.uri) as client:
            client.drop_database(self.db)


class MemoryPlace:
    def __init__(self) -> None:
        self.disk = MemoryDisk(secrets.token_hex(16))
        self.made: list[MemoryStore] = []

    def make(self, projections: Projections = NO_PROJECTIONS) -> MemoryStore:
        self.made.append(MemoryStore(self.disk, kinds=KINDS, projections=projections))
        return self.made[-1]

    async def set_version(self, version: int) -> None:
        self.disk.version = version

    async def replace(self) -> None:
        self.disk = MemoryDisk(secrets.token_hex(16))
        for store in self.made:
            store.find(self.disk)
