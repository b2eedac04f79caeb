"""Both stores keep the promises of the port: SQLite, and MongoDB over its wire protocol."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.sqlite.store import SqliteStore
from tests.contract.store_suite import StoreSuite
from tests.support import mongod


class SqlitePlace:
    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> SqliteStore:
        return SqliteStore(self.path)

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

    def make(self) -> MongoStore:
        return MongoStore(self.uri, self.db, "messages")

    async def set_version(self, version: int) -> None:
        with mongod.client(self.uri) as client:
            meta = client[self.db]["messages_meta"]
            meta.update_one({"_id": "store"}, {"$set": {"v": version}})

    async def replace(self) -> None:
        with mongod.client(self.uri) as client:
            client.drop_database(self.db)


class TestSqlite(StoreSuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SqlitePlace:
        return SqlitePlace(tmp_path / "data" / "store.db")


class TestMongo(StoreSuite):
    @pytest.fixture
    def place(self, mongo_uri: str, mongo_db: str) -> MongoPlace:
        return MongoPlace(mongo_uri, mongo_db)
