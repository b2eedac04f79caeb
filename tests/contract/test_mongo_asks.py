"""What is asked of MongoDB, noted by a scripted server (mockupdb) over the wire protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from bson.int64 import Int64
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.membership import Channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import pack
from chatsvc.core.state_rows import ChannelRow
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.dead_letters import MongoDeadLetters
from chatsvc.storage.mongo.documents import to_document
from chatsvc.storage.mongo.state_documents import INTERVAL_FIELDS
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.records import record, records
from tests.contract.support.mongo_script import (
    PATIENT_SECONDS,
    Answer,
    Script,
    found,
    store_at,
)

WRITE_CONCERN = {"w": "majority", "j": True, "wtimeout": 48_000}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEWEST, OLDEST = {"_id": -1}, {"_id": 1}


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
        "aggregate": lambda _: found({"_id": 1, "n": 2, "latest": 3}),
        "delete": lambda _: {"ok": 1, "n": 1},
    }
    await store.ping()
    await store.versions()
    await store.watermark()
    await store.set_watermark(None, Mark(1, 1, "a"))
    await store.set_watermark(Mark(1, 1, "a"), Mark(2, 1, "a"))
    await store.head()
    await store.write(records(2))
    await store.channel_page("alice,bob", Bounds(7))
    await store.user_page("bob", Bounds(7, newest=False))
    await store.user_records("bob", Bounds(7))
    await store.channel_records("alice,bob", Bounds(7), reader="bob")
    await store.count_user("bob", Bounds(7))
    await store.count_user_records("bob", Bounds(7))
    await store.conversations("bob", before=1 << 60, limit=3)
    await store.members("bob", "alice,bob")
    await store.members("bob", ",g:team")
    await store.put_state([ChannelRow(",g:team", Channel(), 1)])
    await store.state_page("", 7)
    await store.get(5)
    await store.get_record(5)
    await store.find_client_id("alice", "alice,bob", "k")
    await store.client_ids_above(0, 5)
    await store.past_client_ids(limit=5, since_ms=0)
    nothing = "0" * 16
    script.answers["find"] = lambda _: found(
        {"_id": nothing, "id": nothing, "channel": "a,b", "participants": ["a", "b"]}
    )
    await store.purge(1 << 60)
    script.answers["find"] = lambda _: found()
    await everything_of(store.dead_letters, script)
    script.answers["find"] = lambda _: found({"_id": "store", "v": 1, "identity": "i" * 32})
    await store.identity()


async def everything_of(letters: MongoDeadLetters, script: Script) -> None:
    await letters.put([DeadLetter(1, "code", "reason", 0, b"data")])
    await letters.list()
    await letters.get(1)
    await letters.newest()
    await letters.drop([1])
    await letters.count()
    script.answers["find"] = one_letter()
    await letters.fill_keys()


def one_letter() -> Answer:
    """One letter whose bytes are a record with a key, and no more."""
    data = pack(record(1, client_id="k"))
    letter = {"_id": "0" * 15 + "1", "code": "c", "reason": "r", "at": EPOCH}
    pages = iter([found({**letter, "size": len(data), "data": data})])
    return lambda _: next(pages, found())


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


Asked = list[tuple[str, dict[str, int] | None, int | None, dict[str, int] | None]]
CLIENT_IDS = {"sender": 1, "client_id": 1, "requests.sender": 1, "requests.client_id": 1}
LEAST: dict[str, tuple[Callable[[MongoStore], Awaitable[object]], Asked]] = {
    "the newest record": (
        lambda store: store.head(),
        [("messages", {"_id": 1}, 1, NEWEST), ("messages_changes", {"id": 1}, 1, {"id": -1})],
    ),
    "one message": (lambda store: store.get(1), [("messages", None, 1, None)]),
    "who takes part": (
        lambda store: store.members("bob", "alice,bob"),
        [("messages_conversations", {"participants": 1, "last_id": 1, "last_record": 1}, 1, None)],
    ),
    "a client id": (
        lambda store: store.find_client_id("alice", "alice,bob", "k"),
        [
            ("messages_dead_letters", {"digest": 1}, 1, OLDEST),
            ("messages_dead_letters", {"requests": 1}, 1, OLDEST),
            ("messages", None, 1, OLDEST),
            ("messages", {"_id": 1, "requests": 1}, 1, OLDEST),
            ("messages_changes", None, 1, {"id": 1}),
            ("messages_changes", {"id": 1, "requests": 1}, 1, {"id": 1}),
        ],
    ),
    "client ids in order": (
        lambda store: store.client_ids_above(0, 7),
        [
            ("messages", {"_id": 1, **CLIENT_IDS}, 7, OLDEST),
            ("messages_changes", {"id": 1, **CLIENT_IDS}, 7, {"id": 1}),
        ],
    ),
    "the past": (
        lambda store: store.past_client_ids(limit=7, since_ms=1),
        [
            ("messages_dead_letters", {"_id": 1}, 1, NEWEST),
            ("messages_dead_letters", {"_id": 1}, 1, NEWEST),
            ("messages", {"_id": 1}, 1, NEWEST),
            ("messages_changes", {"id": 1}, 1, {"id": -1}),
        ],
    ),
    "the newest letter": (
        lambda store: store.dead_letters.newest(),
        [("messages_dead_letters", None, 1, NEWEST)],
    ),
    "a purge": (
        lambda store: store.purge(9, limit=7),
        [
            ("messages", {"_id": 1, "channel": 1}, 7, OLDEST),
            ("messages_changes", {"id": 1, "channel": 1}, 7, {"id": 1}),
            ("messages_conversations", {"_id": 1}, 7, None),
        ],
    ),
    "a list": (
        lambda store: store.conversations("bob", before=9, limit=7),
        [
            ("messages_conversations", None, 7, {"last_id": -1}),
            ("messages_members", {"channel": 1}, None, None),
            ("messages_state", INTERVAL_FIELDS, None, None),
        ],
    ),
}


@pytest.mark.parametrize(("call", "expected"), LEAST.values(), ids=LEAST.keys())
async def test_no_more_is_asked_for_than_is_needed(
    script: Script,
    store: MongoStore,
    call: Callable[[MongoStore], Awaitable[object]],
    expected: Asked,
) -> None:
    script.answers["aggregate"] = lambda _: found()
    script.asked.clear()
    await call(store)
    finds = [asked for name, asked in script.asked if name == "find"]
    asked = [
        (one["find"], one.get("projection"), one.get("limit"), one.get("sort")) for one in finds
    ]
    # Some are asked at the same time, in either order.
    assert sorted(asked, key=str) == sorted(expected, key=str)


async def test_both_ends_of_a_collection_and_its_indexes_are_looked_at(script: Script) -> None:
    script.answers |= {
        "listCollections": lambda _: found({"name": "messages", "type": "collection"}),
        "listIndexes": lambda _: found(
            {"name": "_id_", "unique": True}, {"name": "theirs", "unique": True}, {"name": "plain"}
        ),
    }
    store = store_at(script.server.uri)
    with capture_logs() as lines:
        await store.open()
    assert [line.get("index") for line in lines] == ["theirs"]
    others = ("changes", "conversations", "members", "state", "meta")
    names = ["messages", *(f"messages_{other}" for other in others)]
    assert script.last("listCollections")["filter"] == {"name": {"$in": names}}
    assert script.last("listIndexes")["listIndexes"] == "messages"
    ends = [ask for name, ask in script.asked if name == "find" and ask["find"] == "messages"]
    assert [one["sort"] for one in ends] == [NEWEST, OLDEST]
    for one in ends:
        assert (one["filter"], one["projection"], one["limit"]) == ({}, {"_id": 1}, 1)
        assert one["collation"] == {"locale": "simple"}
    await store.close()


async def test_the_stores_own_documents_are_named(script: Script, store: MongoStore) -> None:
    for call, name in (
        (store.versions, "store"),
        (store.watermark, "watermark"),
    ):
        await call()
        asked = script.last("find")
        assert (asked["find"], asked["filter"]) == ("messages_meta", {"_id": name})
    with pytest.raises(StoreUnavailable, match="another database is in the place"):
        await store.identity()
    asked = script.last("find")
    assert (asked["find"], asked["filter"]) == ("messages_meta", {"_id": "store"})


async def test_all_letters_get_their_keys_whatever_becomes_of_one(
    script: Script, store: MongoStore
) -> None:
    script.answers["find"] = one_letter()
    await store.dead_letters.fill_keys()
    asked = script.last("update")
    assert (asked["update"], asked["ordered"]) == ("messages_dead_letters", False)
    (update,) = asked["updates"]
    one = record(1, client_id="k")
    assert update["u"] == {
        "$set": {
            "sender": one.sender,
            "channel": one.channel,
            "client_id": "k",
            "digest": one.digest,
        }
    }


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
