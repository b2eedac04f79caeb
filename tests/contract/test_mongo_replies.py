"""Replies that no server can be brought to give at will, played by a scripted server (mockupdb)
over the wire protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymongo.errors import OperationFailure

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.migrations import STEPS
from chatsvc.storage.mongo.store import MongoStore
from testkit.records import record, records
from tests.contract.support.mongo_script import Script, found, store_at

DUPLICATE = {"code": 11000, "errmsg": "E11000 duplicate key"}


@pytest.fixture
async def store(script: Script) -> AsyncIterator[MongoStore]:
    store = store_at(script.server.uri)
    await store.open()
    yield store
    await store.close()


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
    nothing = "0" * 16
    script.answers["find"] = lambda _: found({"_id": nothing, "id": nothing, "channel": "a,b"})
    script.answers["update"] = lambda _: {"ok": 1, "n": 0, "nModified": 0}
    answers = iter([{"ok": 1, "n": 1}, {"ok": 0, "code": 14031, "errmsg": "disk full"}])
    script.answers["delete"] = lambda _: next(answers)
    with pytest.raises(StoreUnavailable):
        await store.purge(1 << 60)
    assert [asked["delete"] for name, asked in script.asked if name == "delete"] == [
        "messages_conversations",
        "messages",
    ], "the conversation first: left behind it would never be found again"
    assert await store.write(records(2)) == []


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
    assert rejections[0].reason == "MongoDB refuses it"  # the server's text quotes the document
    (update,) = script.last("update")["updates"]
    assert update["u"]["$set"]["last_id"] == format_id(record(3).id)


async def test_a_document_that_a_whole_command_fails_for_is_told_by_the_codes_name(
    script: Script, store: MongoStore
) -> None:
    script.answers["insert"] = lambda _: {
        "ok": 0,
        "code": 22,
        "codeName": "InvalidBSON",
        "errmsg": "not understood: message 1",
    }
    (rejection,) = await store.write(records(1))
    assert rejection == (record(1), "mongodb_22", "MongoDB refuses it: InvalidBSON")
    # The server takes in others: the document is at fault.
    asked = script.last("update")
    assert asked["update"] == "messages_meta"
    (control,) = asked["updates"]
    assert (control["q"], control["upsert"]) == ({"_id": "control"}, True)
    assert control["u"] == {"$set": {"last": "alice,bob"}}
    assert control["collation"] == {"locale": "simple"}


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
    held = found(
        {"_id": format_id(same.id), "digest": same.digest, **key},
        {"_id": format_id(another.id), "digest": b"another", **key},
        {"_id": format_id(elsewhere.id), "digest": elsewhere.digest, **key, "channel": "c,d"},
    )
    script.answers["find"] = lambda ask: held if ask["find"] == "messages" else found()
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
    asked = script.last("find")
    assert (asked["find"], asked["filter"]) == ("messages_meta", {"_id": "store"})
    assert asked["collation"] == {"locale": "simple"}
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


async def test_a_first_watermark_that_is_not_taken_is_unavailable(
    script: Script, store: MongoStore
) -> None:
    script.answers["insert"] = lambda _: {
        "ok": 0,
        "code": 13,
        "codeName": "Unauthorized",
        "errmsg": "not allowed",
    }
    with pytest.raises(StoreUnavailable, match=r"code 13 \(Unauthorized\)") as refused:
        await store.set_watermark(None, Mark(1, 1, "a"))
    assert isinstance(refused.value.__cause__, OperationFailure)
    script.answers["insert"] = lambda _: {
        "ok": 1,
        "n": 0,
        "writeErrors": [{"index": 0, **DUPLICATE}],
    }
    assert not await store.set_watermark(None, Mark(1, 1, "a"))


async def test_participants_are_sent_with_the_first_record_of_a_large_set_alone(
    script: Script, store: MongoStore
) -> None:
    people = tuple(f"user{n:03}" for n in range(250))
    begun = found({"_id": record(1, to=people).channel})
    script.answers["find"] = lambda ask: (
        begun if ask["find"] == "messages_conversations" else found()
    )
    script.asked.clear()
    await store.write([record(1, to=people)])
    sent = [(name, ask) for name, ask in script.asked if name in ("insert", "update")]
    assert [(name, ask[name]) for name, ask in sent] == [
        ("update", "messages_conversations"),
        ("insert", "messages"),
        ("update", "messages_conversations"),
    ]
    assert "user249" not in str(sent)
    first, _, last = (ask for _, ask in sent)
    position = format_id(record(1).id)
    assert first["updates"][0]["u"] == {"$max": {"last_record": position}}
    assert last["updates"][0]["u"]["$set"]["last_id"] == position
