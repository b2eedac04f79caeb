"""Large sets in MongoDB: what their records cost, and that they are found whatever died when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.mongo import large_set_writes
from chatsvc.storage.mongo.large_sets import LargeSet
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.conversations import Members
from testkit.records import change, record
from tests.contract.support.mongo_killing import Killed, Killer
from tests.contract.support.stored import expect, ids

Database = Any

MANY = tuple(f"user{n:03}" for n in range(40))
FIVE = MANY[:5]
FEW = MANY[:2]
COLLECTIONS = ("messages", "messages_changes", "messages_conversations", "messages_members")


def channel_of(people: Sequence[str]) -> str:
    return record(1, to=people).channel


async def test_people_of_a_large_set_are_written_once(store: MongoStore, other: Database) -> None:
    first, edit = record(1, to=MANY, client_id="k"), change(2, to=MANY, client_id="e")
    read = change(3, "read", to=MANY, target="x")
    await store.write([first, edit, read])
    await store.write([record(4, to=MANY)])
    channel = channel_of(MANY)
    assert not any("user039" in str(one) for one in other.messages.find())
    assert other.messages_members.count_documents({}) == len(MANY)
    assert other.messages_members.find_one({"user": "user007"}) == {
        "_id": f"user007,{channel}",
        "user": "user007",
        "channel": channel,
    }
    (conversation,) = other.messages_conversations.find()
    last = other.messages.find_one({"_id": format_id(record(4).id)})
    assert conversation == {
        "_id": channel,
        "participants": list(MANY),
        "large": True,
        "last_id": last["_id"],
        "last_record": last["_id"],
        "last_message": last,
    }
    common = {"v": 1, "channel": channel, "sender": "user000", "origin": "laptop"}
    position = format_id(edit.id)
    about = f'["{channel}","read","x"]'
    assert list(other.messages_changes.find().sort("id", 1)) == [
        {"_id": position, "id": position, "kind": "edit", "target": "", "digest": edit.digest,
         "client_id": "e", "body": edit.body.decode(), **common},
        {"_id": about, "id": format_id(read.id), "digest": read.digest,
         "kind": "read", "target": "x", "body": read.body.decode(), **common},
    ]  # fmt: skip


async def test_people_of_a_small_set_stand_in_each_document(
    store: MongoStore, other: Database
) -> None:
    await store.write([record(1, to=FEW), change(2, to=FEW)])
    for one in (other.messages.find_one(), other.messages_changes.find_one()):
        assert one["audience"] == list(FEW)
        assert "participants" not in one
    assert other.messages_members.count_documents({}) == 0
    (conversation,) = other.messages_conversations.find()
    assert "large" not in conversation
    assert conversation["last_id"] == format_id(record(1).id)
    assert conversation["last_record"] == format_id(change(2).id)


BATCH = [
    record(11, to=MANY),
    change(12, to=MANY),
    record(13, to=FIVE),
    record(14, to=FEW),
    change(15, to=FEW),
    change(16, "read", to=FIVE, target="user000"),
]


async def expect_what_is_stored(store: MongoStore, other: Database, written: list[Record]) -> None:
    """Everything that is stored is found by each of its people, and nothing else is told of."""
    stored = {one["_id"] for one in other.messages.find({}, {"_id": 1})}
    stored |= {one["id"] for one in other.messages_changes.find({}, {"id": 1})}
    for user in (MANY[0], MANY[4], MANY[-1]):
        mine = [one for one in written if user in one.audience and format_id(one.id) in stored]
        expect(await store.user_records(user, Bounds(99)), mine)
        for after in (1, *(one.id for one in mine)):
            resumed = await store.user_records(user, Bounds(99, after=after, newest=False))
            expect(resumed, [one for one in mine if one.id > after])
        assert await store.count_user_records(user, Bounds(99)) == len(mine)
        for listed in await store.conversations(user, before=MAX_ID, limit=99):
            assert format_id(listed.last_id) in stored
            assert (await store.members(user, listed.channel)) is not None


@pytest.mark.parametrize("before", [[], [record(n, to=to) for n, to in enumerate((MANY, FEW), 1)]])
async def test_a_write_that_is_ended_anywhere_hides_nothing(
    store: MongoStore, other: Database, killer: Killer, before: list[Record]
) -> None:
    for calls in range(99):
        for name in COLLECTIONS:
            other[name].delete_many({})
        await store.write(before)
        killer.left = calls
        try:
            assert await store.write(BATCH) == []
            break
        except Killed:
            killer.left = -1
        await expect_what_is_stored(store, other, before + BATCH)
        assert await store.write(BATCH) == []
        await expect_whole(store, before + BATCH)
    else:
        pytest.fail("it never came to its end")
    assert calls >= 6
    killer.left = -1
    await expect_whole(store, before + BATCH)


async def expect_whole(store: MongoStore, written: list[Record]) -> None:
    for user in (MANY[0], MANY[-1]):
        mine = [one for one in written if user in one.audience]
        expect(await store.user_records(user, Bounds(99)), mine)
        newest = {one.channel: one.id for one in mine if one.kind == "message"}
        listed = await store.conversations(user, before=MAX_ID, limit=99)
        assert {one.channel: one.last_id for one in listed} == newest


OLD = [
    record(1, to=MANY),
    change(2, to=MANY),
    record(3, to=FIVE),
    record(4, to=FEW),
    change(5, to=FEW),
    record(6, to=FIVE),
    record(7, to=MANY[:6]),
    change(8, to=MANY[:6]),
]


@pytest.mark.parametrize("limit", [1, 3, 99])
@pytest.mark.parametrize("below", [5, 8, 9])
async def test_a_purge_that_is_ended_anywhere_is_gone_on_with(
    store: MongoStore, other: Database, killer: Killer, limit: int, below: int
) -> None:
    kept = [one for one in OLD if one.id >= record(below).id]
    for calls in range(99):
        for name in COLLECTIONS:
            other[name].delete_many({})
        await store.write(OLD)
        killer.left = calls
        try:
            while await store.purge(record(below).id, limit=limit):
                pass
        except Killed:
            killer.left = -1
            for user in (MANY[0], MANY[-1]):
                found = ids(await store.user_records(user, Bounds(99)))
                assert found == sorted(found)
                assert {one.id for one in kept if user in one.audience} <= set(found)
        ended = killer.left >= 0
        killer.left = -1
        while await store.purge(record(below).id, limit=limit):
            pass
        await expect_what_is_stored(store, other, kept)
        assert await store.count_user_records(MANY[0], Bounds(99)) == len(kept)
        channels = {one.channel for one in kept}
        assert {one["_id"] for one in other.messages_conversations.find()} == channels
        assert {one["channel"] for one in other.messages_members.find()} == {
            one.channel for one in kept if len(one.audience) > 4
        }
        if ended:
            break
    else:
        pytest.fail("it never came to its end")
    assert calls >= 6


async def test_a_set_that_was_being_ended_is_begun_again(
    store: MongoStore, other: Database, killer: Killer
) -> None:
    for calls in range(20):
        await store.write([record(1, to=FIVE), record(2, to=MANY)])
        killer.left = calls
        try:
            await store.purge(record(3).id)
            break
        except Killed:
            killer.left = -1
        await store.write([record(9, to=FIVE)])
        for _ in range(2):
            assert ids(await store.user_page(FIVE[-1], Bounds(9)))[-1] == record(9).id
            await store.purge(record(5).id)  # what ends another set leaves this one
        for name in COLLECTIONS:
            other[name].delete_many({})
    else:
        pytest.fail("it never came to its end")
    assert calls >= 6


async def test_purging_and_writing_at_once_lose_no_member(
    store: MongoStore, other: Database
) -> None:
    for n in range(1, 60, 2):
        await store.write([record(n, to=FIVE)])
        await asyncio.gather(
            store.purge(record(n + 1).id),
            store.write([record(n + 1, to=FIVE)]),
        )
        for user in FIVE:
            assert ids(await store.user_page(user, Bounds(1))) == [record(n + 1).id]
        await store.purge(record(n + 2).id)
        assert other.messages_members.count_documents({}) == 0


async def test_a_set_whose_newest_record_was_refused_goes_with_the_others(
    store: MongoStore, other: Database
) -> None:
    other.messages.insert_one({"_id": format_id(record(3).id), "name": "theirs"})
    (refused,) = await store.write([record(1, to=MANY), record(3, to=MANY)])
    assert refused.record == record(3, to=MANY)
    (listed,) = await store.conversations(MANY[0], before=MAX_ID, limit=9)
    assert listed.last_id == record(1).id
    assert await store.purge(record(9).id) == 1
    assert await store.purge(record(9).id) == 0
    assert other.messages_conversations.count_documents({}) == 0
    assert other.messages_members.count_documents({}) == 0


async def test_more_sets_end_than_are_ended_at_once(
    store: MongoStore, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_set_writes, "_SETS_AT_ONCE", 2)
    sets = [MANY[first : first + 5] for first in range(7)]
    await store.write([record(n, to=people) for n, people in enumerate(sets, 1)])
    assert await store.purge(record(6).id) == 5
    left = {channel_of(people) for people in sets[5:]}
    assert {one["_id"] for one in other.messages_conversations.find()} == left
    assert {one["channel"] for one in other.messages_members.find()} == left


async def test_a_body_with_members_of_another_time_has_its_people_once(
    store: MongoStore, other: Database
) -> None:
    odd = record(1, to=MANY, metadata={"a.b": 1, "participants": list(MANY)})
    await store.write([odd])
    document = other.messages.find_one()
    assert document["body"].count("user039") == 1
    (entry,) = await store.channel_page(odd.channel, Bounds(1))
    assert entry.body == odd.body
    (listed,) = await store.conversations("user039", before=MAX_ID, limit=1)
    assert msgspec.json.decode(listed.last_message) == msgspec.json.decode(odd.body)
    found = await store.get(odd.id)
    assert found is not None
    assert (found.body, found.audience) == (odd.body, MANY)


async def test_a_set_that_has_only_changes_left_is_not_listed(
    store: MongoStore, other: Database
) -> None:
    for people in (FIVE, FEW):
        await store.write([record(len(people), to=people), change(9, to=people)])
        assert await store.purge(record(9).id) == 1
        assert ids(await store.user_records(people[-1], Bounds(9))) == [change(9).id]
        assert await store.conversations(people[-1], before=MAX_ID, limit=9) == []
        found = await store.members(people[-1], channel_of(people))
        assert found == Members(people, change(9).id)
        conversation = other.messages_conversations.find_one({"_id": channel_of(people)})
        assert conversation["last_id"] == format_id(0)
        assert "last_message" not in conversation
        for name in COLLECTIONS:
            other[name].delete_many({})


async def test_an_older_record_written_again_takes_a_set_not_back(store: MongoStore) -> None:
    await store.write([record(1, to=FIVE), record(9, to=FIVE)])
    await store.write([record(1, to=FIVE)])
    found = await store.user_page(FIVE[0], Bounds(9, after=record(5).id, newest=False))
    assert ids(found) == [record(9).id]


async def test_no_member_is_taken_for_another(store: MongoStore) -> None:
    names = ["a", "a-", "a-b", "a b", "ab", "A", "á", "a+"]
    sets = [(name, *(f"{n}z" for n in range(n, n + 4))) for n, name in enumerate(names)]
    await store.write([record(n, to=people) for n, people in enumerate(sets, 1)])
    for n, name in enumerate(names, 1):
        assert ids(await store.user_page(name, Bounds(9))) == [record(n).id], name


@pytest.mark.parametrize("moved", [(7,), (8, 7, 6), (8, 7, 6, 5, 4, 3, 2)])
async def test_a_list_does_not_end_where_conversations_move_on_meanwhile(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, moved: tuple[int, ...]
) -> None:
    """Between the two queries of a list. What has moved is above it, and others follow."""

    def people(number: int) -> tuple[str, ...]:
        return ("alice", *(f"user{number}x{n}" for n in range(5)))

    written = [record(n, to=people(n)) for n in range(1, 11)]
    await store.write(written)
    of = store._large_sets.of

    async def then_some_move(user: str) -> list[LargeSet]:
        found = await of(user)
        await store.write([record(10 + n, to=people(n)) for n in sorted(moved)])
        return found

    monkeypatch.setattr(store._large_sets, "of", then_some_move)
    listed = await store.conversations("alice", before=written[8].id, limit=3)
    left = [one.id for number, one in enumerate(written, 1) if number < 9 and number not in moved]
    assert [one.last_id for one in listed] == left[::-1][:3]
