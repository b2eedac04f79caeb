"""Members, channels and filters are folded from records, and read again as they are."""

from __future__ import annotations

import random

import msgspec
import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Channel, Filter, Interval, Member, personal_channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.state_rows import rows_of
from chatsvc.storage.store_state import state_of
from testkit.groups import GROUP, ROOM, at, group_change, group_message, joined, left
from testkit.memory_state import MemoryState, in_order
from testkit.records import record


def expected(records: list[Record]) -> list[StateRow]:
    """What a plain fold of the records gives."""
    state = MemoryState()
    state.fold(records)
    return in_order(state.page("", 10_000).rows)


async def stored(store: MessageStore, limit: int = 1000) -> list[StateRow]:
    """All rows of a store, page by page."""
    rows: list[StateRow] = []
    after = ""
    while True:
        page = await store.state_page(after, limit)
        assert len(page.rows) <= limit
        rows += page.rows
        if not page.after:
            return in_order(rows)
        assert page.rows, "a page without rows is the last"
        after = page.after


def blocked(number: int, user: str, sender: str, until: int = 0) -> Record:
    return group_change(
        number,
        channel=personal_channel(user),
        to=(user,),
        sender=user,
        filters=[Filter(user, "block", sender, at(1), until)],
    )


EVENTS = [
    joined(1, "alice", "bob", "carol"),
    left(2, "bob", 1),
    joined(3, "bob"),
    group_change(4, members=[Member("carol", at(1), role="admin", visible_from=at(3))]),
    blocked(5, "alice", "mallory"),
    joined(6, "alice", channel=ROOM),
    group_change(7, settings=Channel(3, b'{"name":"t\\u0000eam","n":1.0}')),
    blocked(8, "alice", "mallory", until=at(8)),
    blocked(9, "bob", "mallory"),
    group_change(10, members=[Member("dave", 0, banned_until=1 << 60)]),
    group_change(11, channel=ROOM, settings=Channel(0, b"{}", at(11))),
    group_change(12, members=[Member("carol", at(1), muted_until=(1 << 53) + 1)]),
]


async def test_a_store_of_no_records_has_no_rows(store: MessageStore) -> None:
    page = await store.state_page("", 10)
    assert (list(page.rows), page.after) == ([], "")
    assert await store.intervals("alice", GROUP) == []


async def test_a_store_says_that_it_has_rows_and_no_records(store: MessageStore) -> None:
    """As one that a log gave its rows after the store before was lost."""
    empty = await state_of(store)
    assert not empty.only_rows
    row = FilterRow(Filter("alice", "block", "eve", at(1)), at(1))
    await store.put_state([row])
    assert await state_of(store) == empty._replace(only_rows=True)


async def test_rows_are_those_of_the_newest_record(store: MessageStore) -> None:
    assert await store.write(EVENTS) == []
    assert await stored(store) == expected(EVENTS)
    assert MemberRow(GROUP, Member("bob", at(1), at(2)), at(2)) in await stored(store)
    named = Channel(3, b'{"name":"t\\u0000eam","n":1.0}')
    assert ChannelRow(GROUP, named, at(7)) in await stored(store)
    ended = Filter("alice", "block", "mallory", at(1), at(8))
    assert FilterRow(ended, at(8)) in await stored(store)


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_and_twice_the_rows_are_the_same(store: MessageStore, seed: int) -> None:
    dice = random.Random(seed)
    events = dice.sample(EVENTS, len(EVENTS))
    while events:
        size = dice.randrange(1, 6)
        part, events = sorted(events[:size], key=lambda one: one.id), events[size:]
        assert await store.write(part) == []
        if dice.random() < 0.5:
            assert await store.write(part) == []
    assert await stored(store) == expected(EVENTS)
    assert await store.write(EVENTS) == []
    assert await stored(store) == expected(EVENTS)


async def test_rows_of_a_record_that_is_rejected_are_stored(store: MessageStore) -> None:
    await store.write([group_message(2, "another")])
    taken = joined(2, "alice")
    unknown = group_change(3, "vote", members=[Member("bob", at(3))], settings=Channel(2))
    unreadable = msgspec.structs.replace(
        group_change(4, filters=[Filter("bob", "left", "bob,carol", at(4))]), body=b"["
    )
    rejected = await store.write([taken, unknown, unreadable])
    assert [one.record for one in rejected if one.code == "digest_conflict"] == [taken]
    assert len(rejected) == 3
    assert await stored(store) == expected([taken, unknown, unreadable])
    assert await store.intervals("alice", GROUP) == [Interval(GROUP, at(2), MAX_ID, 0)]


async def test_rows_beside_records_of_sets_are_stored(store: MessageStore) -> None:
    alone = joined(2, "alice")
    assert await store.write([record(1), alone, record(3)]) == []
    assert await stored(store) == expected([alone])


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_rows_are_read_in_pages(store: MessageStore, limit: int) -> None:
    await store.write(EVENTS)
    first = await store.state_page("", limit)
    again = await store.state_page("", limit)
    assert (list(first.rows), first.after) == (list(again.rows), again.after), "a fixed order"
    assert await stored(store, limit) == expected(EVENTS)


async def test_rows_of_a_log_are_put_beside_those_of_records(store: MessageStore) -> None:
    await store.write([joined(2, "alice", "bob")])
    rows: list[StateRow] = [
        MemberRow(GROUP, Member("alice", at(2), at(5)), at(5)),
        MemberRow(GROUP, Member("bob", at(2), at(1)), at(1)),
        MemberRow(ROOM, Member("bob", at(4)), at(4)),
        ChannelRow(GROUP, Channel(7), at(1)),
        ChannelRow(ROOM, Channel(1), at(4)),
        FilterRow(Filter("bob", "block", "alice", at(3)), at(3)),
    ]
    for _ in range(2):
        await store.put_state(rows)
        assert await stored(store) == in_order(
            [
                rows[0],
                MemberRow(GROUP, Member("bob", at(2)), at(2)),
                rows[2],
                ChannelRow(GROUP, Channel(2), at(2)),
                *rows[4:],
            ]
        )
    assert await store.intervals("alice", GROUP) == [Interval(GROUP, at(2), at(5), 0)]
    await store.put_state([])


async def test_a_row_of_the_same_record_replaces_nothing(store: MessageStore) -> None:
    await store.write([joined(2, "alice")])
    await store.put_state([MemberRow(GROUP, Member("alice", at(2), role="admin"), at(2))])
    assert await stored(store) == expected([joined(2, "alice")])


async def test_the_later_of_two_rows_in_one_batch_counts(store: MessageStore) -> None:
    rows = [
        MemberRow(GROUP, Member("alice", at(1), role=role), at(rev))
        for role, rev in (("member", 1), ("owner", 3), ("admin", 2))
    ]
    await store.put_state(rows)
    assert await stored(store) == [rows[1]]


async def test_every_interval_is_kept(store: MessageStore) -> None:
    await store.write([joined(1, "alice", "bob"), left(4, "alice", 1), joined(6, "alice")])
    await store.write(
        [
            left(8, "alice", 6),
            group_change(
                9,
                members=[Member("alice", at(9), visible_from=at(2))],
                settings=Channel(2),
            ),
        ]
    )
    own = [
        Interval(GROUP, at(1), at(4), 0),
        Interval(GROUP, at(6), at(8), 0),
        Interval(GROUP, at(9), MAX_ID, at(2)),
    ]
    assert await store.intervals("alice", GROUP) == own
    assert await store.intervals("bob", GROUP) == [Interval(GROUP, at(1), MAX_ID, 0)]
    assert await store.intervals("carol", GROUP) == []
    assert await store.intervals("alice", ROOM) == []
    await store.write([group_change(11, settings=Channel(0, b"{}", at(11)))])
    assert await store.intervals("alice", GROUP) == [*own[:2], own[2]._replace(last=at(11))]
    assert await store.intervals("bob", GROUP) == [Interval(GROUP, at(1), at(11), 0)]


async def test_whoever_was_never_a_member_has_no_interval(store: MessageStore) -> None:
    await store.write([group_change(1, members=[Member("dave", 0, banned_until=5)])])
    assert await store.intervals("dave", GROUP) == []
    assert await store.members("dave", GROUP) is None
    assert await store.user_records("dave", Bounds(9)) == []


async def test_old_records_go_and_their_rows_stay(store: MessageStore) -> None:
    await store.write([*EVENTS, group_message(20)])
    while await store.purge(MAX_ID):
        pass
    assert await stored(store) == expected(EVENTS)
    assert await store.write([group_message(21), group_message(22, channel=ROOM)]) == []
    found = await store.user_page("alice", Bounds(9))
    assert [one.id for one in found] == [at(21)], "the room is dissolved"


async def test_a_record_changes_a_hundred_rows_of_each_sort(store: MessageStore) -> None:
    users = [f"user{n:03}" for n in range(100)]
    one = group_change(
        1,
        members=[Member(user, at(1)) for user in users],
        settings=Channel(100),
        filters=[Filter(user, "left", "a,b", at(1)) for user in users],
    )
    assert len(rows_of([one])) == 201
    assert await store.write([one]) == []
    assert await stored(store, 7) == expected([one])
