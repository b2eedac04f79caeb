"""Replies that no server can be brought to give at will, and what is asked of it, played
by a scripted server (mockupdb) over the wire protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from bson.int64 import Int64

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.documents import to_document
from chatsvc.storage.mongo.migrations import STEPS
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.records import record, records
from tests.contract.support.mongo_script import Script, found

PATIENT_SECONDS = 60
"""The script answers at once; the driver's threads and its own may not, on a busy machine."""
WRITE_CONCERN = {"w": "majority", "j": True, "wtimeout": 48_000}
DUPLICATE = {"code": 11000, "errmsg": "E11000 duplicate key"}


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    script.server.run()
    yield script
    script.server.stop()


def store_at(uri: str) -> MongoStore:
    return MongoStore(
        uri,
        "chat",
        "messages",
        read_seconds=PATIENT_SECONDS,
        write_seconds=PATIENT_SECONDS,
        selection_seconds=PATIENT_SECONDS,
    )


@pytest.fixture
async def store(script: Script) -> AsyncIterator[MongoStore]:
    uri = f"{script.server.uri}/?w=0&journal=false&readPreference=secondary&readConcernLevel=local"
    store = store_at(uri)
    await store.open()
    yield store
    await store.close()


async def test_writes_ask_for_a_journaled_majority_whatever_the_uri_says(
    script: Script, store: MongoStore
) -> None:
    await store.write(records(2))
    await store.dead_letters.put([])
    for command in ("insert", "update", "findAndModify"):
        asked = script.last(command)
        assert asked["writeConcern"] == WRITE_CONCERN, command
    assert script.last("insert")["ordered"] is False


async def test_the_watermark_is_compared_and_set_in_one_journaled_step(
    script: Script, store: MongoStore
) -> None:
    assert await store.set_watermark(None, Mark(1, 1, "a"))
    asked = script.last("insert")
    assert (asked["insert"], asked["writeConcern"]) == ("messages_meta", WRITE_CONCERN)
    assert await store.set_watermark(Mark(1, 1, "a", content="ab"), Mark(2, 1, "a", window_start=9))
    asked = script.last("update")
    assert asked["writeConcern"] == WRITE_CONCERN
    (update,) = asked["updates"]
    assert update["q"] == {
        "_id": "watermark",
        "value": "0000000000000001",
        "generation": 1,
        "epoch": "a",
        "lost": [],
        "content": "ab",
        "window_start": "0000000000000000",
    }
    assert update["u"] == {
        "$set": {
            "value": "0000000000000002",
            "generation": 1,
            "epoch": "a",
            "lost": [],
            "content": "",
            "window_start": "0000000000000009",
        }
    }
    script.answers["update"] = lambda _: {"ok": 1, "n": 0, "nModified": 0}
    assert not await store.set_watermark(Mark(1, 1, "a"), Mark(2, 1, "a"))


async def test_reads_ask_the_primary_whatever_the_uri_says(
    script: Script, store: MongoStore
) -> None:
    await store.channel_page("alice,bob", Bounds(7))
    asked = script.last("find")
    assert asked.get("$readPreference", {"mode": "primary"}) == {"mode": "primary"}
    assert asked["limit"] == 7
    assert asked["sort"] == {"_id": -1}
    assert set(asked["filter"]) == {"channel", "_id"}


async def everything(script: Script, store: MongoStore) -> None:
    """Each method of the store and of its dead letters once."""
    script.answers |= {
        "aggregate": lambda _: found({"_id": 1, "n": 2}),
        "delete": lambda _: {"ok": 1, "n": 1},
    }
    await store.versions()
    await store.head()
    await store.write(records(2))
    await store.channel_page("alice,bob", Bounds(7))
    await store.user_page("bob", Bounds(7, newest=False))
    await store.count_user("bob", Bounds(7))
    await store.conversations("bob", before=1 << 60, limit=3)
    await store.members("bob", "alice,bob")
    await store.get(5)
    await store.find_client_id("alice", "alice,bob", "k")
    script.answers["find"] = lambda _: found({"_id": "0" * 16, "channel": "alice,bob"})
    await store.purge(1 << 60)
    script.answers["find"] = lambda _: found()
    letters = store.dead_letters
    await letters.put([DeadLetter(1, "code", "reason", 0, b"data")])
    await letters.list()
    await letters.get(1)
    await letters.drop([1])
    await letters.count()


async def test_ids_are_compared_by_their_bytes_whatever_the_collection_says(
    script: Script, store: MongoStore
) -> None:
    await everything(script, store)
    seen = set()
    for name, asked in script.asked:
        parts = {
            "update": asked.get("updates"),
            "delete": asked.get("deletes"),
            "createIndexes": asked.get("indexes"),
            "find": [asked],
            "aggregate": [asked],
            "findAndModify": [asked],
        }.get(name)
        for part in parts or []:
            seen.add(name)
            assert part["collation"] == {"locale": "simple"}, (name, part)
    assert len(seen) == 6, "each way to compare an id"


async def test_reads_see_what_the_majority_has_whatever_the_uri_says(
    script: Script, store: MongoStore
) -> None:
    await everything(script, store)
    reads = [asked for name, asked in script.asked if name in ("find", "aggregate")]
    assert len(reads) > 10
    for asked in reads:
        assert asked["readConcern"] == {"level": "majority"}, asked


async def test_a_user_who_may_not_list_collections_is_served(script: Script) -> None:
    for name in ("listCollections", "listIndexes"):
        script.answers[name] = lambda _: {"ok": 0, "code": 13, "errmsg": "not authorized"}
    store = store_at(script.server.uri)
    await store.open()
    script.answers["find"] = lambda _: found({"_id": "store", "v": 1, "identity": "i" * 32})
    assert await store.identity() == "i" * 32
    await store.close()


async def test_another_failure_of_listing_is_unavailable(script: Script) -> None:
    script.answers["listCollections"] = lambda _: {"ok": 0, "code": 189, "errmsg": "stepped down"}
    store = store_at(script.server.uri)
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_purge_that_fails_in_the_middle_is_in_nobodys_way(
    script: Script, store: MongoStore
) -> None:
    script.answers["find"] = lambda _: found({"_id": "0" * 16, "channel": "alice,bob"})
    answers = iter([{"ok": 1, "n": 1}, {"ok": 0, "code": 14031, "errmsg": "disk full"}])
    script.answers["delete"] = lambda _: next(answers)
    with pytest.raises(StoreUnavailable):
        await store.purge(1 << 60)
    assert [asked["delete"] for name, asked in script.asked if name == "delete"] == [
        "messages_conversations",
        "messages",
    ], "the conversation first: left behind it would never be found again"
    assert await store.write(records(2)) == []


async def test_a_page_that_is_large_enough_asks_for_no_more_and_gives_the_cursor_up(
    script: Script, store: MongoStore
) -> None:
    def batch(first: int) -> list[dict[str, Any]]:
        return [
            to_document(one, msgspec.json.decode(one.body))
            for one in records(100, first=first, content="x" * 1000)
        ]

    script.answers["find"] = lambda _: {
        "ok": 1,
        "cursor": {"id": Int64(7), "ns": "chat.messages", "firstBatch": batch(1)},
    }
    script.answers["getMore"] = lambda _: {
        "ok": 1,
        "cursor": {"id": Int64(7), "ns": "chat.messages", "nextBatch": batch(101)},
    }
    script.answers["killCursors"] = lambda ask: {"ok": 1, "cursorsKilled": ask["cursors"]}
    bounds = Bounds(1000, newest=False, max_bytes=150_000)
    page = await store.channel_page("alice,bob", bounds)
    assert sum(len(entry.body) for entry in page[:-1]) <= 150_000
    assert sum(len(entry.body) for entry in page) > 150_000
    assert script.last("find")["batchSize"] == 100
    assert script.count("getMore") == 1
    assert script.last("killCursors")["cursors"] == [7]


async def test_a_read_tells_the_server_how_long_it_may_take(
    script: Script, store: MongoStore
) -> None:
    await store.channel_page("alice,bob", Bounds(7))
    assert 0 < script.last("find")["maxTimeMS"] <= PATIENT_SECONDS * 1000


async def test_conversations_are_written_only_after_their_messages(
    script: Script, store: MongoStore
) -> None:
    script.asked.clear()
    script.answers["insert"] = lambda _: {"ok": 0, "code": 14031, "errmsg": "disk full"}
    with pytest.raises(StoreUnavailable):
        await store.write(records(1))
    assert script.count("update") == 0
    script.answers["insert"] = lambda _: {"ok": 1, "n": 1}
    await store.write(records(1))
    assert [name for name, _ in script.asked if name in ("insert", "update")][-2:] == [
        "insert",
        "update",
    ]


async def test_write_errors_beside_a_write_concern_error_prove_nothing(
    script: Script, store: MongoStore
) -> None:
    script.answers["insert"] = lambda _: {
        "ok": 1,
        "n": 1,
        "writeErrors": [{"index": 0, **DUPLICATE}],
        "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"},
    }
    with pytest.raises(StoreUnavailable) as refused:
        await store.write(records(2))
    assert refused.value.__cause__ is None  # the driver's text holds the documents
    assert "64" in str(refused.value)


async def test_one_document_at_fault_is_told_by_its_own_error(
    script: Script, store: MongoStore
) -> None:
    script.answers["insert"] = lambda _: {
        "ok": 1,
        "n": 2,
        "writeErrors": [{"index": 1, "code": 121, "errmsg": "Document failed: message 2"}],
    }
    rejections = await store.write(records(3))
    assert [(one.record, one.code) for one in rejections] == [(record(2), "mongodb_121")]
    assert "message" not in rejections[0].reason
    (update,) = script.last("update")["updates"]
    assert update["u"]["$set"]["last_id"] == format_id(record(3).id)


async def test_an_error_of_the_server_among_the_documents_is_nobodys_fault(
    script: Script, store: MongoStore
) -> None:
    script.answers["insert"] = lambda _: {
        "ok": 1,
        "n": 1,
        "writeErrors": [
            {"index": 0, "code": 121, "errmsg": "Document failed"},
            {"index": 1, "code": 11602, "errmsg": "interrupted"},
        ],
    }
    with pytest.raises(StoreUnavailable):
        await store.write(records(3))


async def test_duplicates_are_told_apart(script: Script, store: MongoStore) -> None:
    same, another, elsewhere = records(3)
    script.answers["insert"] = lambda _: {
        "ok": 1,
        "n": 0,
        "writeErrors": [{"index": index, **DUPLICATE} for index in range(3)],
    }
    key = {"channel": same.channel, "sender": same.sender}
    script.answers["find"] = lambda _: found(
        {"_id": format_id(same.id), "digest": same.digest, **key},
        {"_id": format_id(another.id), "digest": b"another", **key},
        {"_id": format_id(elsewhere.id), "digest": elsewhere.digest, **key, "channel": "c,d"},
    )
    rejections = await store.write([same, another, elsewhere])
    assert [(one.record, one.code) for one in rejections] == [
        (another, "digest_conflict"),
        (elsewhere, "digest_conflict"),
    ]


async def test_a_lost_race_for_a_new_conversation_is_run_again(
    script: Script, store: MongoStore
) -> None:
    # Another writer made the document between this update's look and its insert.
    replies = [
        {"ok": 1, "n": 0, "nModified": 0, "writeErrors": [{"index": 0, **DUPLICATE}]},
        {"ok": 1, "n": 1, "nModified": 1},
    ]
    script.answers["update"] = lambda _: replies.pop(0)
    script.asked.clear()
    assert await store.write(records(1)) == []
    first, second = [ask["updates"][0] for name, ask in script.asked if name == "update"]
    assert first["upsert"] is True
    assert not second.get("upsert")
    assert (first["q"], first["u"]) == (second["q"], second["u"])


async def test_a_lost_race_for_the_stores_own_document_takes_the_winners(script: Script) -> None:
    script.answers["findAndModify"] = lambda _: {"ok": 0, **DUPLICATE}
    winner = {"_id": "store", "v": len(STEPS), "identity": "winner"}
    script.answers["find"] = lambda _: found(winner)
    store = store_at(script.server.uri)
    await store.open()
    assert await store.identity() == "winner"
    await store.close()


async def test_without_its_own_document_the_store_is_unavailable_and_says_so(
    script: Script,
) -> None:
    # Another process was first to make it, and then it was removed.
    script.answers["findAndModify"] = lambda _: {"ok": 0, **DUPLICATE, "codeName": "DuplicateKey"}
    store = store_at(script.server.uri)
    try:
        with pytest.raises(StoreUnavailable, match="the store's own document is missing"):
            await store.open()
    finally:
        await store.close()
