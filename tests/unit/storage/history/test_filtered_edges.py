"""Filters that come while something is read, and much that is hidden."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import BLOCK, Filter
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds
from chatsvc.storage.history.filtered import LOOKED_AT
from testkit.records import record
from tests.unit.storage.history.test_filtered import World
from tests.unit.support.history_worlds import at, ids

T = TypeVar("T")
BLOCK_OF_ALICE = Filter("bob", BLOCK, "alice", 0)
THREE = ("alice", "bob", "carol")


async def blocked_meanwhile(world: World, reading: Awaitable[T], *before: Filter) -> T:
    """What is read while bob blocks alice with record 20, and she writes record 21 after that."""
    gate = world.store.gate = asyncio.Event()
    task = asyncio.ensure_future(reading)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    world.filtering.rows = [*before, Filter("bob", BLOCK, "alice", *at(20))]
    world.tail.extend([record(21, to=("alice", "bob"))])
    gate.set()
    return await task


async def test_a_blocked_sender_brings_no_gap_however_much_it_writes() -> None:
    world = World([record(n) for n in range(1, LOOKED_AT + 2)])
    world.filtering.rows = [BLOCK_OF_ALICE]
    assert await world.history.records.count_shown("bob", Bounds(21, newest=False)) == 0


async def test_a_page_in_parts_has_nothing_of_who_was_blocked_meanwhile() -> None:
    world = World([record(n, to=("bob", "carol"), sender="carol") for n in range(1, 6)], evicted=5)
    block = world.filtering.rows = [Filter("bob", BLOCK, "carol", 0)]
    page = world.history.user_page("bob", Bounds(2, newest=False))
    assert ids((await blocked_meanwhile(world, page, *block)).entries) == []


async def test_a_page_around_a_message_has_nothing_of_who_was_blocked_meanwhile() -> None:
    world = World([record(n, to=("bob", "carol"), sender="carol") for n in range(1, 6)], evicted=5)
    page = world.history.user_around("bob", at(3)[0], 9)
    assert ids((await blocked_meanwhile(world, page)).entries) == at(1, 2, 3, 4, 5)


async def test_changes_have_nothing_of_who_was_blocked_meanwhile() -> None:
    world = World([record(n, to=("bob", "carol"), sender="carol") for n in range(1, 6)])
    kinds = frozenset({"message", "edit"})
    task = asyncio.ensure_future(
        world.history.records.user_page("bob", Bounds(50, newest=False), kinds)
    )
    await asyncio.sleep(0)
    world.filtering.rows = [Filter("bob", BLOCK, "alice", *at(20))]
    world.tail.extend([record(21)])
    assert ids((await task).entries) == at(1, 2, 3, 4, 5)


async def test_a_list_has_nothing_of_who_was_blocked_meanwhile() -> None:
    world = World([record(n, to=("bob", "carol"), sender="carol") for n in range(1, 6)], evicted=5)
    page = world.history.conversations("bob", before=MAX_ID, limit=5)
    listed = (await blocked_meanwhile(world, page)).conversations
    assert [one.channel for one in listed] == ["bob,carol"]


async def test_a_list_has_its_bytes_whatever_is_shown_of_it() -> None:
    sent = []
    for number in range(20):
        people = ("alice", "bob", f"user {number}")
        sent.append(record(number, "x" * 100_000, to=people, sender="bob"))
    sent += [record(20 + n, to=("alice", "bob", f"user {n}"), sender="alice") for n in range(20)]
    world = World(sent)
    page = await world.history.conversations("bob", before=MAX_ID, limit=100)
    assert sum(len(one.last_message) for one in page.conversations) <= MAX_PAGE_BYTES
    world.filtering.rows = [BLOCK_OF_ALICE]
    page = await world.history.conversations("bob", before=MAX_ID, limit=100)
    assert sum(len(one.last_message) for one in page.conversations) <= MAX_PAGE_BYTES


@pytest.mark.parametrize("what", ["page", "list"])
async def test_one_request_asks_the_store_a_bounded_number_of_times(what: str) -> None:
    """2,000 records a page, a hundred at once: twice as much is enough."""
    count = 3 * LOOKED_AT
    world = World([record(n) for n in range(1, count + 1)], evicted=count)
    world.filtering.rows = [BLOCK_OF_ALICE]
    if what == "page":
        await world.history.channel_page("alice,bob", Bounds(50), reader="bob")
    else:
        await world.history.conversations("bob", before=MAX_ID, limit=50)
    assert world.store.reads <= 2 * LOOKED_AT // 100


async def test_a_list_is_answered_from_the_tail_whatever_is_hidden() -> None:
    sent = [
        record(1, to=THREE, sender="carol"),
        record(2, to=THREE, sender="alice"),
        record(3, to=("bob", "dave"), sender="dave"),
    ]
    world = World(sent, evicted=1)
    world.store.away = True
    page = await world.history.conversations("bob", before=MAX_ID, limit=9)
    assert (len(page.conversations), page.complete) == (2, False)
    world.filtering.rows = [BLOCK_OF_ALICE]
    page = await world.history.conversations("bob", before=MAX_ID, limit=9)
    assert "bob,dave" in {one.channel for one in page.conversations}
    assert not page.complete


async def test_a_list_is_not_complete_where_what_it_shows_may_not_be_the_newest() -> None:
    sent = [
        record(1, to=THREE, sender="carol"),
        record(2, to=("bob", "erin"), sender="erin"),
        record(3, to=THREE, sender="carol"),
        record(4, to=THREE, sender="alice"),
        record(5, to=("bob", "dave"), sender="dave"),
    ]
    world = World(sent, evicted=3)
    del world.store.records[at(3)[0]]  # it is being filled again
    world.tail.set_store_positions(stored=at(2)[0], base=0, hole=None)
    bounds = Bounds(1, before=at(4)[0])
    assert not (await world.history.channel_page("alice,bob,carol", bounds)).complete
    world.filtering.rows = [BLOCK_OF_ALICE]
    page = await world.history.conversations("bob", before=MAX_ID, limit=2)
    assert [one.channel for one in page.conversations] == ["bob,dave", "alice,bob,carol"]
    assert b'"message 1"' in page.conversations[1].last_message
    assert not page.complete


async def test_a_list_of_which_nothing_is_shown_lets_others_have_their_turn() -> None:
    count = 3000
    sent = [record(n, to=("alice", "bob", f"user {n}"), sender="alice") for n in range(1, count)]
    world = World(sent)
    await world.history.conversations("bob", before=MAX_ID, limit=100)  # the tail's list is made
    world.filtering.rows = [BLOCK_OF_ALICE]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await asyncio.sleep(0)
    turns = 0
    page = await world.history.conversations("bob", before=MAX_ID, limit=100)
    task.cancel()
    assert (page.conversations, page.has_more) == ([], False)
    assert turns >= count // 1000
