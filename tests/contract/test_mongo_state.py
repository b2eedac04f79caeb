"""Rows of the log's state in MongoDB: one write each, whoever else writes, and whatever is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson.int64 import Int64
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.membership import Channel, Filter, Interval, Member, personal_channel
from chatsvc.core.record import Record
from chatsvc.core.state_rows import MemberRow, StateRow
from chatsvc.storage.mongo.store import MongoStore
from testkit.groups import GROUP, ROOM, at, group_change, group_message, joined, left
from testkit.memory_state import MemoryState, in_order
from testkit.records import KINDS
from tests.contract.support.mongo_killing import Killed, Killer
from tests.contract.support.mongo_script import Script, store_at

Database = Any

EVENTS = [
    joined(1, "alice", "bob"),
    left(2, "bob", 1),
    joined(3, "bob", channel=ROOM),
    group_change(4, members=[Member("alice", at(1), role="admin")]),
    group_change(5, channel=ROOM, settings=Channel(0, b'{"n":1}', at(5))),
    group_change(
        6,
        channel=personal_channel("bob"),
        to=("bob",),
        filters=[Filter("bob", "block", "alice", at(6))],
    ),
    joined(7, "bob"),
]


def make(uri: str, db: str) -> MongoStore:
    return MongoStore(uri, db, "messages", kinds=KINDS)


@pytest.fixture
async def store(mongo_uri: str, mongo_db: str) -> AsyncIterator[MongoStore]:
    store = make(mongo_uri, mongo_db)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def scripted(script: Script) -> AsyncIterator[MongoStore]:
    store = store_at(script.server.uri, KINDS)
    await store.open()
    yield store
    await store.close()


async def stored(store: MongoStore) -> list[StateRow]:
    return in_order((await store.state_page("", 1000)).rows)


def folded(records: list[Record]) -> list[StateRow]:
    state = MemoryState()
    state.fold(records)
    return in_order(state.page("", 1000).rows)


async def test_a_row_is_a_document_under_its_key(store: MongoStore, other: Database) -> None:
    assert await store.write(EVENTS) == []
    documents = {one["_id"]: one for one in other.messages_state.find()}
    assert len(documents) == 7
    assert documents[f"m{GROUP},bob,{format_id(at(1))}"] == {
        "_id": f"m{GROUP},bob,{format_id(at(1))}",
        "rev": format_id(at(2)),
        "channel": GROUP,
        "user": "bob",
        "joined": format_id(at(1)),
        "last": format_id(at(2)),
        "visible_from": format_id(0),
        "role": "member",
        "muted_until": 0,
        "banned_until": 0,
    }
    assert documents[f"m{GROUP},alice,{format_id(at(1))}"]["last"] == format_id(MAX_ID)
    assert documents[f"c{ROOM}"] == {
        "_id": f"c{ROOM}",
        "rev": format_id(at(5)),
        "channel": ROOM,
        "count": 0,
        "settings": b'{"n":1}',
        "dissolved": format_id(at(5)),
    }
    assert documents[f"fbob,block,alice,{format_id(at(6))}"] == {
        "_id": f"fbob,block,alice,{format_id(at(6))}",
        "rev": format_id(at(6)),
        "user": "bob",
        "sort": "block",
        "of": "alice",
        "since": format_id(at(6)),
        "until": format_id(0),
    }


async def test_a_row_is_written_once_in_a_batch_before_its_records(
    script: Script, scripted: MongoStore
) -> None:
    script.asked.clear()
    moved = [
        group_change(n, members=[Member("alice", at(1), muted_until=n)], settings=Channel(n))
        for n in range(1, 20)
    ]
    await scripted.write([*moved, group_message(20)])
    written = [ask for name, ask in script.asked if name in ("update", "insert")]
    first = written[0]
    assert first["update"] == "messages_state"
    assert first["ordered"] is False
    assert first["writeConcern"]["w"] == "majority"
    assert first["writeConcern"]["j"] is True
    assert [one["q"] for one in first["updates"]] == [
        {"_id": f"m{GROUP},alice,{format_id(at(1))}", "rev": {"$lt": format_id(at(19))}},
        {"_id": f"c{GROUP}", "rev": {"$lt": format_id(at(19))}},
    ]
    for one in first["updates"]:
        assert one["upsert"] is True
        assert one["collation"] == {"locale": "simple"}
    assert [ask.get("update") for ask in written].count("messages_state") == 1


async def test_a_batch_that_changes_no_row_writes_none(
    script: Script, scripted: MongoStore
) -> None:
    script.asked.clear()
    await scripted.write([group_message(1)])
    assert "messages_state" not in [ask.get("update") for _, ask in script.asked]


@pytest.mark.parametrize(
    "how",
    [
        {"errorCode": 189},
        {"errorCode": 11600},
        {"closeConnection": True},
        {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
    ],
    ids=["stepped down", "shutting down", "cut off", "not replicated"],
)
async def test_rows_of_a_call_that_failed_are_written_again(
    store: MongoStore, other: Database, how: dict[str, Any]
) -> None:
    """Nothing of it was done, or all, of which the majority may have nothing."""
    await store.put_state([MemberRow(GROUP, Member("bob", at(1)), at(1))])
    data = {"failCommands": ["update"], **how}
    for times in (1, 2):
        # The driver repeats a write that may be repeated once.
        mode = {"times": 2 * times}
        other.client.admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        with pytest.raises(StoreUnavailable):
            await store.write(EVENTS)
        other.client.admin.command("configureFailPoint", "failCommand", mode="off")
        assert other.messages.count_documents({}) == 0, "no record before its rows"
    assert await store.write(EVENTS) == []
    assert await stored(store) == folded(EVENTS)


async def test_rows_of_a_call_that_was_done_in_part_are_completed(
    store: MongoStore, other: Database
) -> None:
    await store.write(EVENTS)
    whole = {one["_id"]: one for one in other.messages_state.find()}
    for missing in whole:
        other.messages_state.delete_one({"_id": missing})
        assert await store.write(EVENTS) == []
        assert {one["_id"]: one for one in other.messages_state.find()} == whole


async def test_wherever_a_write_is_ended_the_next_one_completes_the_rows(
    store: MongoStore, other: Database, killer: Killer
) -> None:
    names = ("messages", "messages_changes", "messages_conversations", "messages_state")
    for calls in range(20):
        for name in names:
            other[name].delete_many({})
        killer.left = calls
        try:
            await store.write(EVENTS)
            break
        except Killed:
            killer.left = -1
        if other.messages_changes.count_documents({}):
            assert await stored(store) == folded(EVENTS), "no record before its rows"
        assert await store.write(EVENTS) == []
        assert await stored(store) == folded(EVENTS)
    else:
        pytest.fail("it never came to its end")
    assert calls >= 3


@pytest.mark.parametrize("seed", range(3))
async def test_two_that_write_at_once_leave_the_newest_rows(
    store: MongoStore, mongo_uri: str, mongo_db: str, seed: int
) -> None:
    second = make(mongo_uri, mongo_db)
    await second.open()
    dice = random.Random(seed)
    records = [
        group_change(n, members=[Member(dice.choice("abc"), at(1), muted_until=n)])
        for n in range(1, 40)
    ]

    async def write(store: MongoStore, order: list[int]) -> None:
        for first in order:
            assert await store.write(records[first : first + 5]) == []

    orders = [dice.sample(range(0, 39, 3), 13) for _ in range(2)]
    await asyncio.gather(write(store, orders[0]), write(second, orders[1]))
    assert await stored(store) == folded(records)
    await second.close()


async def test_a_document_that_another_made_meanwhile_is_compared_with(
    script: Script, scripted: MongoStore
) -> None:
    """Whether it is newer or older, the same condition decides, without an upsert."""
    nothing = {"ok": 1, "n": 0, "nModified": 0}
    taken = {"index": 0, "code": 11000, "errmsg": ""}
    answers = iter([nothing | {"writeErrors": [taken]}, nothing])
    script.answers["update"] = lambda _: next(answers)
    script.asked.clear()
    await scripted.put_state([MemberRow(GROUP, Member("alice", at(1)), at(5))])
    first, second = (ask["updates"][0] for name, ask in script.asked if name == "update")
    assert (first["q"], first["u"]) == (second["q"], second["u"])
    assert first["upsert"] is True
    assert second["upsert"] is False


async def test_times_beyond_what_mongodb_holds_are_the_latest(store: MongoStore) -> None:
    member = Member("alice", at(1), muted_until=MAX_ID, banned_until=(1 << 63) - 1)
    await store.put_state([MemberRow(GROUP, member, at(1))])
    (row,) = await stored(store)
    assert isinstance(row, MemberRow)
    assert row.member.muted_until == (1 << 63) - 1
    assert not isinstance(row.member.muted_until, Int64)
    assert row.member.banned_until == (1 << 63) - 1


async def test_no_key_is_taken_for_another(store: MongoStore) -> None:
    users = ["a", "a-", "a b", "A", "á", "a+", "a/", "c", "f", "m"]
    channels = [",r:a", ",r:a-", ",r:a b", ",g:a", ",r:A", ",r:á"]
    rows = [
        MemberRow(channel, Member(user, at(n)), at(n))
        for n, (channel, user) in enumerate(
            ((channel, user) for channel in channels for user in users), 1
        )
    ]
    await store.put_state(rows)
    for row in rows:
        found = await store.intervals(row.member.user, row.channel)
        assert found == [Interval(row.channel, row.member.joined, MAX_ID, 0)]
    assert await stored(store) == in_order(rows)


async def test_documents_of_others_are_no_rows(store: MongoStore, other: Database) -> None:
    await store.write(EVENTS)
    theirs = [
        {"_id": 5},
        {"_id": "c"},
        {"_id": "m", "rev": "x"},
        {"_id": "zzz", "rev": format_id(1)},
        {"_id": "f,,", "rev": format_id(1), "user": 5},
    ]
    other.messages_state.insert_many(theirs)
    with capture_logs():
        found: list[StateRow] = []
        after = ""
        while True:
            page = await store.state_page(after, 2)
            found += page.rows
            if not page.after:
                break
            after = page.after
    assert in_order(found) == folded(EVENTS)
