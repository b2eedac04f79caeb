"""A listing of conversations takes each from where its newest message lies, and ends."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.retention import Expiry
from testkit.memory_store import MemoryStore
from testkit.records import record
from tests.unit.support.history_worlds import Merged, World, at


async def listed(history: History, user: str, limit: int) -> list[tuple[str, int]]:
    """All pages of a listing."""
    found: list[tuple[str, int]] = []
    before = MAX_ID
    while True:
        page = await history.conversations(user, before=before, limit=limit)
        found += [(one.channel, one.last_id) for one in page.conversations]
        if not page.has_more:
            return found
        before = page.conversations[-1].last_id


async def test_a_listing_is_its_readers_own() -> None:
    tail = Tail(recent_bytes=1 << 30)
    tail.extend([record(1, to=("alice", "bob")), record(2, to=("alice", "carol"))])
    history = History(MemoryStore(), tail)
    for user, last in (("alice", at(2, 1)), ("bob", at(1)), ("carol", at(2)), ("dave", [])):
        listing = await history.conversations(user, before=MAX_ID, limit=5)
        assert [one.last_id for one in listing.conversations] == last


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_conversations_of_which_the_store_has_a_newer_message_give_way(limit: int) -> None:
    """The log was put back: of two conversations it lacks the newest message."""

    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            user = {10: "user4", 11: "user5"}.get(number, f"user{number}")
            return record(number, to=("alice", user))

    world = Listed(0, 0, {1, 6, 7, 8, 9, 10, 11, 12}, 12)
    numbers = {12: 12, 11: 5, 10: 4, 9: 9, 8: 8, 7: 7, 6: 6, 3: 3, 2: 2, 1: 1}
    rows = [(f"alice,user{user}", at(n)[0]) for n, user in numbers.items()]
    assert await listed(world.history, "alice", limit) == rows


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 8])
async def test_what_the_tail_listed_before_is_skipped_in_the_store_until_there_is_more(
    limit: int,
) -> None:
    class Listed(World):
        @staticmethod
        def make(number: int) -> Record:
            """Of the first six conversations, five go on in the tail, in the other order."""
            user = number if number <= 8 else 17 - number
            return record(number, to=("alice", f"user{user}"))

    world = Listed(8, 8, 14)
    rows = [*((n, 17 - n) for n in range(14, 8, -1)), (2, 2), (1, 1)]
    expected = [(f"alice,user{user}", at(n)[0]) for n, user in rows]
    assert await listed(world.history, "alice", limit) == expected


async def test_a_listing_ends_with_the_oldest_that_is_kept() -> None:
    store = MemoryStore()
    everything = [record(number, to=("alice", f"user{number}")) for number in range(1, 9)]
    store.records = {one.id: one for one in everything}
    floor = everything[-1].id
    tail = Tail(recent_bytes=0, watermark=floor, floor=floor)
    history = History(store, tail, expiry=Expiry(1, lambda seconds: at(7)[0] - 1))
    page = await history.conversations("alice", before=MAX_ID, limit=1)
    assert ([one.last_id for one in page.conversations], page.has_more) == (at(8), True)
    store.reads = 0
    page = await history.conversations("alice", before=at(8)[0] + 1, limit=2)
    assert ([one.last_id for one in page.conversations], page.has_more) == (at(7, 8)[::-1], False)
    assert store.reads == 1, "what lies behind the oldest kept is not asked for"


@pytest.mark.parametrize(("excess", "has_more"), [(0, False), (1, True)])
async def test_a_listing_of_just_the_bytes_of_a_page_is_whole(excess: int, has_more: bool) -> None:
    store = MemoryStore()
    empty = len(record(1, "", to=("alice", "user1")).body)
    length = MAX_PAGE_BYTES // 2 - empty
    everything = [
        record(number, "x" * (length + more), to=("alice", f"user{number}"))
        for number, more in ((1, 0), (2, excess))
    ]
    store.records = {one.id: one for one in everything}
    floor = everything[-1].id
    history = History(store, Tail(recent_bytes=0, watermark=floor, floor=floor))
    page = await history.conversations("alice", before=MAX_ID, limit=5)
    assert (len(page.conversations), page.has_more) == (2 - excess, has_more)


@pytest.mark.parametrize(("base", "asked"), [(3, 0), (4, 1)])
async def test_only_what_the_log_may_lack_is_asked_of_the_store(base: int, asked: int) -> None:
    """One listing, and a page of each conversation that may have a newer message in there."""
    world = Merged(0, 0, set(range(1, 13)) - {3}, base)
    world.store.records.clear()
    await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert world.store.reads == 1 + asked


async def test_a_listing_looks_for_newer_messages_in_its_readers_turn() -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return record(number, to=("alice", "bob", f"user{number}"))

    world = Listed(0, 0, {5}, 6)
    world.store.gate = asyncio.Event()
    reads = [
        asyncio.ensure_future(world.history.conversations(user, before=MAX_ID, limit=20))
        for user in ("alice", "alice", "bob")
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.history.queue._running == {"alice": 1, "bob": 1}
    world.store.gate.set()
    await asyncio.gather(*reads)
