"""History asks the store for what a page needs and no more, and each reader takes turns."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from testkit.memory_store import MemoryStore
from testkit.records import MESSAGES_ALONE, record
from tests.unit.support.history_worlds import Merged, World, at, ids

SIZE = len(record(1).body)


class Asked(MemoryStore):
    """Notes the bounds of every page and count."""

    def __init__(self, records: dict[int, Record]) -> None:
        super().__init__()
        self.records = records
        self.pages: list[Bounds] = []
        self.counts: list[Bounds] = []

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self.pages.append(bounds)
        return await super().user_page(user, bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        self.counts.append(bounds)
        records = [one for one in self.records.values() if user in one.audience]
        inside = [one for one in records if bounds.after < one.id < bounds.before]
        return min(len(inside), bounds.limit)


def watched(world: World | Merged) -> tuple[Asked, History]:
    store = Asked(world.store.records)
    return store, History(store, world.tail)


async def test_the_newest_page_asks_for_what_the_tail_lacks() -> None:
    store, history = watched(World(6, 6, 9))
    bounds = Bounds(5, max_bytes=SIZE * 10)
    assert ids((await history.user_page("bob", bounds)).entries) == at(5, 6, 7, 8, 9)
    assert store.pages == [Bounds(3, 0, at(6)[0] + 1, True, SIZE * 7)]


async def test_a_page_that_the_tail_fills_with_bytes_leaves_none_for_the_store() -> None:
    store, history = watched(World(6, 6, 9))
    bounds = Bounds(5, before=at(8)[0], max_bytes=SIZE // 2)
    assert ids((await history.user_page("bob", bounds)).entries) == at(7)
    assert [asked.max_bytes for asked in store.pages] == [0]


async def test_a_catch_up_asks_for_the_whole_page_below_the_tail() -> None:
    store, history = watched(World(6, 6, 9))
    bounds = Bounds(5, after=at(2)[0], newest=False, max_bytes=SIZE * 10)
    assert ids((await history.user_page("bob", bounds)).entries) == at(3, 4, 5, 6, 7)
    assert store.pages == [Bounds(6, at(2)[0], at(6)[0] + 1, False, SIZE * 10)]


async def test_a_count_that_the_tail_fills_asks_no_store() -> None:
    store, history = watched(World(6, 6, 9))
    assert await history.records.count_user("bob", Bounds(3), MESSAGES_ALONE) == 3
    assert (store.counts, store.pages) == ([], [])
    assert await history.records.count_user("bob", Bounds(5), MESSAGES_ALONE) == 5
    assert [(asked.limit, asked.before) for asked in store.counts] == [(2, at(6)[0] + 1)]


@pytest.mark.parametrize(("base", "counts", "pages"), [(6, 1, 0), (7, 0, 1)])
async def test_only_what_may_be_in_both_is_looked_at_to_be_counted(
    base: int, counts: int, pages: int
) -> None:
    store, history = watched(Merged(6, 6, set(), base))
    assert await history.records.count_user("bob", Bounds(20), MESSAGES_ALONE) == 12
    assert (len(store.counts), len(store.pages)) == (counts, pages)
    assert all(asked.max_bytes <= MAX_PAGE_BYTES for asked in store.pages)


async def test_three_readers_are_served_at_once_by_default() -> None:
    world = World(9, 9, 9)
    world.store.gate = asyncio.Event()
    reads = [
        asyncio.ensure_future(world.history.user_page(f"u{number}", Bounds(1)))
        for number in range(5)
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.store.reads == 3
    world.store.gate.set()
    await asyncio.gather(*reads)


async def test_reads_of_nobody_in_particular_share_one_part() -> None:
    world = World(9, 9, 9)
    world.store.gate = asyncio.Event()
    history = world.history
    reads = [
        asyncio.ensure_future(read)
        for read in (
            history.channel_page("alice,bob", Bounds(1)),
            history.channel_around("alice,bob", at(3)[0], 4),
            history.get(at(3)[0]),
        )
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    assert history.queue._running == {"": 1}
    world.store.gate.set()
    await asyncio.gather(*reads)


@pytest.mark.parametrize("what", ["count", "members", "compare"])
async def test_reads_of_one_user_take_turns_whatever_they_are(what: str) -> None:
    world = Merged(4, 6, {5, 7, 9}, 9)
    if what != "compare":
        world.tail = Tail(recent_bytes=0, watermark=at(12)[0], floor=at(12)[0])
        world.history = History(world.store, world.tail)
    world.store.gate = asyncio.Event()

    async def read(user: str) -> object:
        if what == "count":
            return await world.history.records.count_user(user, Bounds(20), MESSAGES_ALONE)
        if what == "members":
            return await world.history.participants(user, "alice,bob")
        return await world.history.get(at(8)[0], reader=user)

    reads = [asyncio.ensure_future(read(user)) for user in ["mallory"] * 3 + ["alice"]]
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.history.queue._running == {"mallory": 1, "alice": 1}
    world.store.gate.set()
    await asyncio.gather(*reads)


async def test_a_listing_without_the_store_that_has_nothing_to_show_fails() -> None:
    world = World(9, 9, 9)
    world.store.away = True
    with pytest.raises(StoreUnavailable):
        await world.history.conversations("alice", before=MAX_ID, limit=5)
