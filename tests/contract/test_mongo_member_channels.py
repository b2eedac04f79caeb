"""Groups and rooms in MongoDB: what their records cost, and whose they are at any moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.membership import Channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.mongo import listed_channels
from chatsvc.storage.mongo.connection import MongoConnection
from chatsvc.storage.mongo.listed_channels import ListedChannel, ListedChannels
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.conversations import Members
from testkit.groups import GROUP, ROOM, at, group_change, group_message, joined, left
from testkit.memory_store import MemoryDisk, MemoryStore
from testkit.records import KINDS, record
from tests.contract.support.mongo_killing import Killed, Killer
from tests.contract.support.stored import expect, ids

Database = Any

EVERYTHING = Bounds(99)
COLLECTIONS = (
    "messages",
    "messages_changes",
    "messages_conversations",
    "messages_members",
    "messages_state",
)


async def test_a_record_is_a_document_however_many_members_there_are(
    store: MongoStore, other: Database
) -> None:
    users = [f"user{n:03}" for n in range(100)]
    await store.write([joined(1, *users), group_message(2), group_change(3)])
    assert other.messages_members.count_documents({}) == 0
    assert list(other.messages_conversations.find()) == [
        {
            "_id": GROUP,
            "large": True,
            "last_id": format_id(at(2)),
            "last_record": format_id(at(3)),
        }
    ]
    for document in (other.messages.find_one(), *other.messages_changes.find()):
        assert document["for_members"] == document["channel"] == GROUP
        assert "audience" not in document
        assert "participants" not in document
        assert "user042" not in str(document)
    assert ids(await store.user_records("user042", EVERYTHING)) == [at(1), at(2), at(3)]


async def test_a_record_that_names_people_moves_no_conversation(
    store: MongoStore, other: Database
) -> None:
    names = tuple(f"user{n:03}" for n in range(200))
    await store.write([group_message(1), group_change(2, to=names), group_message(3, to=names)])
    conversation = other.messages_conversations.find_one({"_id": GROUP})
    assert conversation["last_record"] == conversation["last_id"] == format_id(at(1))
    assert other.messages_members.count_documents({}) == 0
    named = other.messages_changes.find_one()
    assert named["audience"] == list(names)
    assert "for_members" not in named
    await store.write([group_change(4, channel=ROOM, to=("alice",))])
    assert other.messages_conversations.find_one({"_id": ROOM}) is None
    assert ids(await store.user_records("user199", EVERYTHING)) == [at(2), at(3)]


async def test_a_message_to_its_own_participants_keeps_its_body(store: MongoStore) -> None:
    """No feature sends one. It names whom it is for in its body too."""
    plain = group_message(1, to=("alice", "bob"))
    odd = plain.body.replace(b'"participants":[]', b'"participants":["alice","bob"]')
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    one = Record(**(fields | {"body": odd}))
    assert await store.write([one]) == []
    expect(await store.user_page("bob", EVERYTHING), [one])


async def test_an_index_that_was_dropped_is_there_after_the_next_opening(
    mongo_uri: str, mongo_db: str, store: MongoStore, other: Database
) -> None:
    requests = ["requests", "requests_minted_ahead"]
    places = {
        other.messages: ["members", *requests],
        other.messages_changes: ["members", *requests],
        other.messages_state: ["memberships"],
        other.messages_dead_letters: requests,
    }
    for place, indexes in places.items():
        for index in indexes:
            place.drop_index(index)
    again = MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS)
    await again.open()
    for place, indexes in places.items():
        assert place.index_information().keys() >= set(indexes)
    await again.close()


BATCH = [
    joined(11, "alice", "bob"),
    group_message(12),
    left(13, "bob", 11),
    group_message(14),
    group_change(15, to=("bob", "carol")),
    joined(16, "carol", channel=ROOM),
    group_message(17, channel=ROOM),
    record(18, to=("alice", "bob")),
    group_change(19, channel=ROOM, settings=Channel(0, b"{}", at(19))),
    group_message(20, channel=ROOM),
]
USERS = ("alice", "bob", "carol", "dave")


async def model_of(records: list[Record]) -> MemoryStore:
    model = MemoryStore(MemoryDisk(), kinds=KINDS)
    await model.open()
    await model.write(records)
    return model


@pytest.mark.parametrize("before", [[], [joined(1, "bob", "carol"), left(2, "carol", 1)]])
async def test_a_write_that_is_ended_anywhere_shows_nobody_what_is_not_theirs(
    store: MongoStore, other: Database, killer: Killer, before: list[Record]
) -> None:
    model = await model_of(before + BATCH)
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
        stored = {one["_id"] for one in other.messages.find({}, {"_id": 1})}
        stored |= {one["id"] for one in other.messages_changes.find({}, {"id": 1})}
        for user in USERS:
            own = [one.id for one in await model.user_records(user, EVERYTHING)]
            found = ids(await store.user_records(user, EVERYTHING))
            assert found == [one for one in own if format_id(one) in stored]
            for listed in await store.conversations(user, before=MAX_ID, limit=9):
                assert format_id(listed.last_id) in stored
                assert listed.last_id in own
        assert await store.write(BATCH) == []
        await expect_as_in(model, store)
    else:
        pytest.fail("it never came to its end")
    assert calls >= 5
    killer.left = -1
    await expect_as_in(model, store)


async def expect_as_in(model: MemoryStore, store: MongoStore) -> None:
    for user in USERS:
        own = await model.user_records(user, EVERYTHING)
        assert ids(await store.user_records(user, EVERYTHING)) == ids(own)
        assert await store.count_user_records(user, EVERYTHING) == len(own)
        expected = await model.conversations(user, before=MAX_ID, limit=9)
        found = await store.conversations(user, before=MAX_ID, limit=9)
        assert [one[:3] for one in found] == [one[:3] for one in expected]


Read = Callable[[MongoStore], Awaitable[list[int]]]


async def records_of_bob(store: MongoStore) -> list[int]:
    return ids(await store.user_records("bob", EVERYTHING))


async def list_of_bob(store: MongoStore) -> list[int]:
    return [one.last_id for one in await store.conversations("bob", before=MAX_ID, limit=9)]


@pytest.mark.parametrize("read", [records_of_bob, list_of_bob])
async def test_what_is_written_while_somebody_reads_is_not_shown_to_who_has_left(
    store: MongoStore, other: Database, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    """Bob leaves, and the next message is stored, between any two queries of his read."""
    through = MongoConnection.read
    until_then = -1

    async def then_bob_leaves(connection: MongoConnection, call: Any) -> Any:
        nonlocal until_then
        until_then -= 1
        if until_then == -1:
            assert await store.write([left(3, "bob", 1), group_message(4)]) == []
        return await through(connection, call)

    monkeypatch.setattr(MongoConnection, "read", then_bob_leaves)
    for queries in range(99):
        until_then = -1
        for name in COLLECTIONS:
            other[name].delete_many({})
        await store.write([joined(1, "bob"), group_message(2)])
        until_then = queries
        found = await read(store)
        assert at(2) in found, queries
        assert at(4) not in found, queries
        if until_then >= 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert queries >= 6


async def test_a_group_of_which_all_records_went_is_used_again(
    store: MongoStore, other: Database
) -> None:
    await store.write([joined(1, "alice"), group_message(2), group_change(3, to=("alice",))])
    while await store.purge(MAX_ID):
        pass
    assert other.messages_conversations.count_documents({}) == 0
    assert other.messages_state.count_documents({}) == 2
    assert await store.members("alice", GROUP) == Members((), 0)
    await store.write([group_message(5)])
    assert ids(await store.user_page("alice", EVERYTHING)) == [at(5)]
    assert await store.members("alice", GROUP) == Members((), at(5))


async def test_a_group_whose_newest_record_was_refused_loses_nothing(
    store: MongoStore, other: Database
) -> None:
    other.messages.insert_one({"_id": format_id(at(3)), "name": "theirs"})
    (refused,) = await store.write([joined(1, "alice"), group_message(2), group_message(3)])
    assert refused.record == group_message(3)
    assert ids(await store.user_page("alice", EVERYTHING)) == [at(2)]
    (listed,) = await store.conversations("alice", before=MAX_ID, limit=9)
    assert listed.last_id == at(2)
    assert await store.purge(at(9)) == 2
    assert await store.purge(at(9)) == 0
    assert other.messages_conversations.count_documents({}) == 0


@pytest.mark.parametrize("newest", [True, False])
async def test_documents_of_others_in_a_group_are_passed_over(
    store: MongoStore, other: Database, newest: bool
) -> None:
    written = [group_message(n) for n in range(3, 20, 2)]
    await store.write([joined(1, "alice"), joined(2, "alice", channel=ROOM), *written])
    other.messages.insert_many(
        [{"_id": format_id(at(n)), "for_members": GROUP} for n in range(4, 20, 2)]
    )
    other.messages.insert_one({"_id": ObjectId("6b0758a9e193b42675b7e10b"), "for_members": GROUP})
    with capture_logs():
        for limit in (1, 2, 3, 9):
            found = await store.user_page("alice", Bounds(limit, newest=newest))
            expect(found, written[-limit:] if newest else written[:limit])


class LookedFor:
    """The channels of which a message was looked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.channels: list[str] = []
        newest = ListedChannels._newest

        async def noted(own: ListedChannels, one: ListedChannel) -> Any:
            self.channels.append(one.channel)
            return await newest(own, one)

        monkeypatch.setattr(ListedChannels, "_newest", noted)


def room(number: int) -> str:
    return f",r:room{number:02}"


async def test_a_list_looks_for_no_more_messages_of_the_past_than_it_needs(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for = LookedFor(monkeypatch)
    monkeypatch.setattr(listed_channels, "_LOOKED_FOR_AT_ONCE", 2)
    for number in range(20):
        first = 1 + 4 * number
        await store.write(
            [
                joined(first, "alice", channel=room(number)),
                group_message(first + 1, channel=room(number)),
                left(first + 2, "alice", first, channel=room(number)),
                group_message(first + 3, channel=room(number)),
            ]
        )
    found = await store.conversations("alice", before=MAX_ID, limit=3)
    assert [one.channel for one in found] == [room(19), room(18), room(17)]
    assert [one.last_id for one in found] == [at(78), at(74), at(70)]
    assert sorted(looked_for.channels) == [room(17), room(18), room(19)]
    looked_for.channels.clear()
    found = await store.conversations("alice", before=at(10), limit=3)
    assert [one.channel for one in found] == [room(1), room(0)]
    assert set(looked_for.channels) == {room(0), room(1), room(2)}, "but those that began later"


async def test_a_channel_that_was_left_twice_is_listed_by_the_later_time(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for = LookedFor(monkeypatch)
    await store.write([joined(1, "alice"), group_message(2), left(3, "alice", 1)])
    await store.write([joined(4, "alice", channel=ROOM), group_message(5, channel=ROOM)])
    await store.write([left(6, "alice", 4, channel=ROOM), group_message(7, channel=ROOM)])
    await store.write([joined(8, "alice"), group_message(9), left(10, "alice", 8)])
    await store.write([group_message(11)])
    (found,) = await store.conversations("alice", before=MAX_ID, limit=1)
    assert (found.channel, found.last_id) == (GROUP, at(9))
    assert looked_for.channels == [GROUP]
    both = await store.conversations("alice", before=at(9), limit=9)
    assert [one.last_id for one in both] == [at(5)], "its newest is not below that"


async def test_nothing_is_looked_for_where_the_newest_message_is_a_members(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for = LookedFor(monkeypatch)
    await store.write([joined(1, "alice"), group_message(2), joined(3, "alice", channel=ROOM)])
    found = await store.conversations("alice", before=MAX_ID, limit=3)
    assert [one.channel for one in found] == [GROUP]
    assert await store.conversations("alice", before=at(2), limit=3) == []
    assert looked_for.channels == []
