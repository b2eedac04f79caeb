"""The shape of documents and queries, quickly and without a server, on mongomock.

It yields to nobody, lets through what MongoDB refuses, and knows no bulk writes of
today's driver, so documents are put in one by one here: no proof of behaviour. The
contract suite over the wire is (``tests/contract/``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from mongomock import not_implemented
from mongomock_motor import AsyncMongoMockClient

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.bodies import partition_records
from chatsvc.storage.mongo import connection as mongo_connection
from chatsvc.storage.mongo import database as mongo
from chatsvc.storage.mongo.documents import to_document
from chatsvc.storage.mongo.store import MongoStore
from testkit.records import record


def document(one: Record) -> dict[str, Any]:
    ((_, body),), _ = partition_records([one])
    return to_document(one, body)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> AsyncMongoMockClient:
    async def nothing_to_see(*_: object) -> None:
        """It lists no collections as a server does."""

    client = AsyncMongoMockClient()
    monkeypatch.setitem(not_implemented._IGNORED_FEATURES, "collation", True)  # as servers compare
    monkeypatch.setattr(mongo, "inspect", nothing_to_see)
    monkeypatch.setattr(mongo_connection, "AsyncIOMotorClient", lambda *_, **__: client)
    return client


@pytest.fixture
async def store(client: AsyncMongoMockClient) -> AsyncIterator[MongoStore]:
    store = MongoStore("mongodb://localhost", "chat", "messages")
    await store.open()
    for number in range(1, 10):
        one = record(number, to=("alice", f"user{number % 3}"), client_id=f"k{number}")
        await client["chat"]["messages"].insert_one(document(one))
    yield store
    await store.close()


def positions(*numbers: int) -> list[int]:
    return [record(number).id for number in numbers]


async def test_pages_find_their_documents(store: MongoStore) -> None:
    found = await store.channel_page("alice,user1", Bounds(2))
    assert [entry.id for entry in found] == positions(4, 7)
    found = await store.channel_page("alice,user1", Bounds(2, after=record(1).id, newest=False))
    assert [entry.id for entry in found] == positions(4, 7)
    found = await store.user_page("alice", Bounds(3, before=record(8).id))
    assert [entry.id for entry in found] == positions(5, 6, 7)
    assert await store.count_user("user2", Bounds(2)) == 2
    assert await store.head() == record(9).id


async def test_single_messages_are_found(store: MongoStore) -> None:
    entry = await store.get(record(5).id)
    assert entry is not None
    sent = record(5, to=("alice", "user2"), client_id="k5")
    assert msgspec.json.decode(entry.body) == msgspec.json.decode(sent.body)
    assert await store.find_client_id("alice", "alice,user2", "k5") == (
        record(5).id,
        record(5).digest,
    )


async def test_conversations_are_found_by_their_newest(
    store: MongoStore, client: AsyncMongoMockClient
) -> None:
    for number in (7, 8, 9):
        last = document(record(number, to=("alice", f"user{number % 3}")))
        await client["chat"]["messages_conversations"].insert_one(
            {
                "_id": last["channel"],
                "participants": last["audience"],
                "audience": last["audience"],
                "last_id": last["_id"],
                "last_message": last,
            }
        )
    found = await store.conversations("alice", before=record(9).id, limit=5)
    assert [one.last_id for one in found] == positions(8, 7)
    assert len(await store.conversations("user0", before=MAX_ID, limit=5)) == 1


async def test_a_document_of_a_newer_version_is_not_guessed_at(
    store: MongoStore, client: AsyncMongoMockClient
) -> None:
    await client["chat"]["messages"].update_one(
        {"_id": format_id(record(9).id)}, {"$set": {"v": 99}}
    )
    with pytest.raises(VersionTooNew):
        await store.get(record(9).id)
