"""MongoDB's own ways to fail, and what the collections look like to others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, format_id, id_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import pack
from chatsvc.storage.mongo import dead_letters as mongo_dead_letters
from chatsvc.storage.mongo import migrations
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit import mongod
from testkit.client_ids import uuid7_at
from testkit.missing import skip_outside_ci
from testkit.records import START, record, records, with_body
from testkit.waiting import until

Fail = Any
T = TypeVar("T")

TRANSIENT = {
    "a primary that steps down": {"errorCode": 189},
    "not the primary": {"errorCode": 10107},
    "shutting down": {"errorCode": 91},
    "out of disk": {"errorCode": 14031},
    "not allowed": {"errorCode": 13},
    "over its time": {"errorCode": 50},
    "a code that nobody knows": {"errorCode": 987654},
    "no majority in time": {"writeConcernError": {"code": 64, "errmsg": "timed out"}},
    "no majority at all": {"writeConcernError": {"code": 100, "errmsg": "not enough nodes"}},
    "the journal fails": {"writeConcernError": {"code": 2, "errmsg": "no journal"}},
    "a cut connection": {"closeConnection": True},
    "slower than the time-out": {"blockConnection": True, "blockTimeMS": 4000},
}


@pytest.fixture
async def store(mongo_uri: str, mongo_db: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongo_uri, mongo_db, "messages", read_seconds=3.0, write_seconds=3.0)
    try:
        await once_back(store.open)
        yield store
    finally:
        await store.close()


@pytest.fixture
def other(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """Another client of the same server."""
    with mongod.client(mongo_uri) as client:
        yield client


@pytest.fixture
def fail(other: MongoClient[dict[str, Any]]) -> Iterator[Fail]:
    def configure(*commands: str, times: int = 1000, **how: Any) -> None:
        other.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": times},
            data={"failCommands": list(commands), **how},
        )

    try:
        configure(times=0)
    except OperationFailure as exc:
        skip_outside_ci(f"the server has no fail points (enableTestCommands=1): code {exc.code}")
    yield configure
    other.admin.command("configureFailPoint", "failCommand", mode="off")


# --- what passes is not lost, and not blamed on a message


@pytest.mark.parametrize("how", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_failing_insert_is_unavailable_until_it_passes(
    store: MongoStore, fail: Fail, how: dict[str, Any]
) -> None:
    fail("insert", **how)
    with pytest.raises(StoreUnavailable) as refused:
        await store.write(records(3))
    assert "message 1" not in str(refused.value)
    fail("insert", times=0)
    assert await store.write(records(3)) == []
    assert len(await store.channel_page("alice,bob", Bounds(10))) == 3


@pytest.mark.parametrize(
    "how", [value for value in TRANSIENT.values() if "writeConcernError" in value]
)
async def test_duplicates_are_not_durable_while_the_majority_is_away(
    store: MongoStore, fail: Fail, how: dict[str, Any]
) -> None:
    await store.write(records(3))
    fail("insert", **how)
    with pytest.raises(StoreUnavailable):
        await store.write(records(4))


@pytest.mark.parametrize("how", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_failing_conversation_is_unavailable_until_it_passes(
    store: MongoStore, fail: Fail, how: dict[str, Any]
) -> None:
    fail("update", **how)
    with pytest.raises(StoreUnavailable):
        await store.write(records(3))
    fail("update", times=0)
    assert await store.write(records(3)) == []
    (conversation,) = await store.conversations("alice", before=MAX_ID, limit=9)
    assert conversation.last_id == records(3)[-1].id


@pytest.mark.parametrize(
    "how", [{"errorCode": 189}, {"errorCode": 50}, {"errorCode": 987654}, {"closeConnection": True}]
)
async def test_a_failing_read_is_unavailable_until_it_passes(
    store: MongoStore, fail: Fail, how: dict[str, Any]
) -> None:
    await store.write(records(3))
    fail("find", **how)
    with pytest.raises(StoreUnavailable):
        await store.channel_page("alice,bob", Bounds(10))
    fail("find", times=0)
    assert len(await store.channel_page("alice,bob", Bounds(10))) == 3


async def test_a_store_that_fails_to_open_can_be_opened_later(
    mongo_uri: str, mongo_db: str, fail: Fail
) -> None:
    store = MongoStore(mongo_uri, mongo_db, "messages", write_seconds=1.0)
    fail("createIndexes", errorCode=189)
    with pytest.raises(StoreUnavailable):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.write(records(1))
    fail("createIndexes", times=0)
    await once_back(store.open)
    assert await once_back(lambda: store.write(records(1))) == []
    await store.close()


# --- what never passes is found


async def test_a_batch_that_fails_for_its_content_is_halved_until_it_is_found(
    store: MongoStore, fail: Fail
) -> None:
    # Refuses the whole, both halves of the first half, and then one message.
    fail("insert", times=3, errorCode=22)
    rejections = await store.write(records(4))
    assert [(one.record, one.code) for one in rejections] == [(record(1), "mongodb_22")]
    found = await store.channel_page("alice,bob", Bounds(10))
    assert [entry.id for entry in found] == [record(n).id for n in (2, 3, 4)]


async def test_a_server_that_refuses_everything_is_not_a_message_at_fault(
    store: MongoStore, fail: Fail
) -> None:
    fail("insert", "update", errorCode=2)
    with pytest.raises(StoreUnavailable):
        await store.write(records(4))
    fail(times=0)
    assert await store.write(records(4)) == []


async def test_a_document_too_large_is_put_aside_whole(store: MongoStore) -> None:
    body = record(2).body[:-1] + b',"more":"' + b"x" * 17_000_000 + b'"}'
    large = with_body(record(2), body)
    rejections = await store.write([record(1), large, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(large, "too_large")]
    found = await store.channel_page("alice,bob", Bounds(10))
    assert [entry.id for entry in found] == [record(1).id, record(3).id]


async def test_a_unique_index_of_somebody_else_is_named(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    other[mongo_db]["messages"].create_index("content", unique=True)
    await store.write([record(1, "once")])
    rejections = await store.write([record(2, "once"), record(3, "else")])
    assert [(one.record.id, one.code) for one in rejections] == [(record(2).id, "duplicate_key")]


# --- what others see


async def test_documents_are_readable_by_others(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    written = record(1, "Hello team!", client_id="k", metadata={"n": 1, "f": 1.0})
    plain = record(2)
    await store.write([written, plain])
    position = format_id(written.id)
    document = other[mongo_db]["messages"].find_one({"_id": position})
    assert document == {
        "_id": position,
        "v": 2,
        "rev": position,
        "channel": "alice,bob",
        "audience": ["alice", "bob"],
        "sender": "alice",
        "origin": "laptop",
        "content": "Hello team!",
        "created_at": datetime.fromtimestamp(id_ms(written.id) / 1000, UTC),
        "digest": written.digest,
        "client_id": "k",
        "metadata": {"n": 1, "f": 1.0},
    }
    assert isinstance(document["metadata"]["f"], float)
    assert isinstance(document["metadata"]["n"], int)
    bare = other[mongo_db]["messages"].find_one({"_id": format_id(plain.id)})
    assert bare is not None
    assert not {"client_id", "metadata", "body"} & bare.keys()
    conversation = other[mongo_db]["messages_conversations"].find_one({"_id": "alice,bob"})
    assert conversation == {
        "_id": "alice,bob",
        "participants": ["alice", "bob"],
        "audience": ["alice", "bob"],
        "last_id": format_id(plain.id),
        "last_record": format_id(plain.id),
        "last_message": bare,
    }


async def test_indexes_are_those_that_the_queries_need(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    await store.open()
    key = ("sender", 1), ("channel", 1), ("client_id", 1)
    ahead, requests_ahead = (((f"{of}minted_ahead_ms", 1),) for of in ("", "requests."))
    request = (("channel", 1), ("requests.client_id", 1), ("requests.sender", 1))
    client_ids = {(*key, ("_id", 1)), ahead, (*request, ("_id", 1)), requests_ahead}
    expected: dict[str, set[Any]] = {
        "messages": {
            *(((name, 1), ("_id", 1)) for name in ("channel", "audience", "for_members")),
            *client_ids,
        },
        "messages_changes": {
            (("id", 1),),
            *(((name, 1), ("id", 1)) for name in ("channel", "audience", "for_members")),
            *((*of, ("id", 1)) for of in (key, request)),
            *(ahead, requests_ahead),
        },
        "messages_conversations": {
            (("audience", 1), ("last_id", -1)),
            (("large", 1), ("_id", 1), ("last_record", 1), ("last_id", 1)),
        },
        "messages_state": {
            tuple((name, 1) for name in ("user", "last", "channel", "joined", "visible_from")),
            (("_id", 1), ("dissolved", 1)),
        },
        "messages_dead_letters": client_ids,
    }
    for name, keys in expected.items():
        indexes = other[mongo_db][name].list_indexes()
        assert {tuple(index["key"].items()) for index in indexes} == {(("_id", 1),), *keys}, name


async def test_an_older_version_is_moved_forward(
    mongo_uri: str, mongo_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    newest = len(migrations.STEPS) + 1

    old = MongoStore(mongo_uri, mongo_db, "messages")
    await old.open()
    await old.write(records(1))

    async def note(*_: object) -> None:
        taken.append("newest")

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, note))
    for _ in range(2):
        new = MongoStore(mongo_uri, mongo_db, "messages")
        await new.open()
        assert await new.versions() == (newest, newest)
        assert await new.identity() == await old.identity()
        assert len(await new.channel_page("alice,bob", Bounds(5))) == 1
        await new.close()
    assert taken == ["newest"]
    await old.close()


async def test_letters_of_the_first_version_get_their_keys(
    mongo_uri: str, mongo_db: str, other: MongoClient[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(mongo_dead_letters, "_PART_BYTES", 100)
    monkeypatch.setattr(mongo_dead_letters, "_FILL_AT_ONCE", 2)
    first = MongoStore(mongo_uri, mongo_db, "messages")
    monkeypatch.setattr(migrations, "STEPS", migrations.STEPS[:1])
    await first.open()
    put = [*records(5, client_id=uuid7_at(1)), record(9)]
    await first.dead_letters.put(
        [DeadLetter(one.id, "code", "reason", 1, pack(one)) for one in put]
        + [DeadLetter(START, "damaged", "reason", 1, b"no record")]
    )
    await first.close()
    keys = ("sender", "channel", "client_id", "digest", "minted_ahead_ms")
    other[mongo_db]["messages_dead_letters"].update_many({}, {"$unset": dict.fromkeys(keys, "")})
    monkeypatch.undo()
    store = MongoStore(mongo_uri, mongo_db, "messages")
    await store.open()
    assert await store.find_client_id("alice", "alice,bob", uuid7_at(1)) == (
        put[0].id,
        put[0].digest,
    )
    filled = other[mongo_db]["messages_dead_letters"].count_documents({"client_id": uuid7_at(1)})
    assert filled == 5
    assert await store.dead_letters.count() == 7
    await store.close()


# --- a server that goes and comes


async def test_a_server_that_is_killed_and_comes_back(mongo_server: mongod.MongoServer) -> None:
    store = MongoStore(mongo_server.uri, "chat", "messages", read_seconds=1.0, write_seconds=1.0,
                       selection_seconds=0.5)  # fmt: skip
    await once_back(store.open)
    assert await once_back(lambda: store.write(records(50))) == []
    await asyncio.to_thread(mongo_server.kill)
    with pytest.raises(StoreUnavailable):
        await store.write(records(3, first=51))
    with pytest.raises(StoreUnavailable):
        await store.ping()
    fresh = MongoStore(mongo_server.uri, "chat", "messages", write_seconds=1.0,
                       selection_seconds=0.2)  # fmt: skip
    with pytest.raises(StoreUnavailable):
        await fresh.open()
    await asyncio.to_thread(mongo_server.start)
    # A busy machine answers later than these short time-outs allow: again, as the service does.
    await once_back(fresh.open)
    assert await once_back(fresh.identity) == await once_back(store.identity)
    assert await once_back(lambda: store.write(records(3, first=51))) == []
    found = await once_back(lambda: fresh.channel_page("alice,bob", Bounds(100)))
    assert [entry.id for entry in found] == [one.id for one in records(53)]
    await fresh.close()
    await store.close()


async def once_back(call: Callable[[], Awaitable[T]]) -> T:
    """What it gives, as soon as the store answers."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await call()
            await asyncio.sleep(0.01)


async def test_a_server_that_answers_nothing_is_waited_for_only_so_long(
    mongo_server: mongod.MongoServer,
) -> None:
    store = MongoStore(mongo_server.uri, "chat", "messages", read_seconds=0.5, write_seconds=0.5,
                       selection_seconds=0.5)  # fmt: skip
    await once_back(store.open)
    await once_back(lambda: store.write(records(1)))
    mongo_server.pause()
    reads = [asyncio.ensure_future(store.channel_page("a,b", Bounds(5))) for _ in range(60)]
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.write(records(1, first=2)), 60)
    outcomes = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), 60)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    mongo_server.resume()
    assert await once_back(lambda: store.write(records(2))) == []
    await store.close()


async def test_a_cancelled_read_gives_its_turn_back_when_it_ends(
    mongo_server: mongod.MongoServer,
) -> None:
    store = MongoStore(mongo_server.uri, "chat", "messages", read_seconds=5.0,
                       selection_seconds=5.0)  # fmt: skip
    await once_back(store.open)
    await once_back(lambda: store.write(records(1)))
    mongo_server.pause()
    reads = [asyncio.ensure_future(store.get(record(1).id)) for _ in range(100)]
    await asyncio.sleep(0)
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    mongo_server.resume()
    assert await once_back(lambda: store.get(record(1).id)) is not None
    gate = store._connection._reading
    await until(lambda: not gate.locked())
    await store.close()
