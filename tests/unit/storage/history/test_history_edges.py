"""History at the very ends of a stretch: the oldest kept, the last stored, the lowest id."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record, accept
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.retention import Expiry
from testkit.memory_store import MemoryStore
from testkit.records import MESSAGES_ALONE, START, draft, record, records
from tests.unit.support.history_worlds import Merged, Refilling, World, at, ids
from tests.unit.support.virtual_time import in_virtual_time, passed

EVERYTHING = Bounds(20)


def history_of(stored: list[Record], tail: list[Record], floor: int) -> History:
    """What is up to ``floor`` is in the store alone."""
    store = MemoryStore()
    store.records = {one.id: one for one in stored}
    log = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
    log.extend(tail)
    return History(store, log)


async def test_ids_side_by_side_over_the_seam_are_seen_once() -> None:
    below, above = (accept(draft(), START + n) for n in range(2))
    history = history_of([below, above], [above], START)
    for newest in (True, False):
        bounds = Bounds(5, newest=newest)
        assert ids((await history.user_page("bob", bounds)).entries) == [START, START + 1]
        assert await history.records.count_user("bob", bounds, MESSAGES_ALONE) == 2


@pytest.mark.parametrize("floor", [0, 1])
async def test_the_lowest_id_is_found_wherever_it_lies(floor: int) -> None:
    one = accept(draft(), 1)
    history = history_of([one] if floor else [], [] if floor else [one], floor)
    assert await history.participants("bob", "alice,bob") == ("alice", "bob")
    listing = await history.conversations("bob", before=MAX_ID, limit=5)
    assert [row.last_id for row in listing.conversations] == [1]
    for middle in (0, 1):
        assert ids((await history.user_around("bob", middle, 4)).entries) == [1]


@pytest.mark.parametrize("evicted", [0, 9])
async def test_the_oldest_that_is_kept_is_shown(evicted: int) -> None:
    world = World(evicted, 9, 9)
    oldest = at(6)[0]
    expiry = Expiry(1, lambda seconds: oldest - 1)
    history = History(world.store, world.tail, expiry=expiry)
    assert ids((await history.user_page("bob", EVERYTHING)).entries) == at(6, 7, 8, 9)
    assert await history.records.count_user("bob", EVERYTHING, MESSAGES_ALONE) == 4
    assert await history.get(oldest) is not None
    assert await history.get(at(5)[0]) is None
    assert history.oldest_kept() == oldest


async def test_the_last_that_the_tail_let_go_of_is_in_the_store() -> None:
    world = World(3, 3, 9)
    found = await world.history.get(at(3)[0])
    assert found is not None
    assert found[1] == "stored"


async def test_what_the_store_is_known_to_hold_and_lacks_is_no_message() -> None:
    world = Refilling(3)
    del world.store.records[at(3)[0]]
    assert await world.history.get(at(3)[0]) is None
    with pytest.raises(StoreUnavailable, match="filled up again"):
        await world.history.get(at(8)[0])


@pytest.mark.parametrize(("number", "asked"), [(6, 0), (8, 1), (10, 0)])
async def test_a_message_that_may_have_to_move_is_compared_with_the_store(
    number: int, asked: int
) -> None:
    """It may while it is not stored and not above the base."""
    world = Merged(4, 6, {5, 7, 9}, 8)
    world.store.records |= {one.id: one for one in records(2, first=7)}
    found = await world.history.get(at(number)[0])
    assert found is not None
    assert found[0].id == at(number)[0]
    assert world.store.reads == asked
    taken = record(number, "another")
    world.store.records[taken.id] = taken
    if asked:
        with pytest.raises(StoreUnavailable, match="another message under this id"):
            await world.history.get(taken.id)
    else:
        assert await world.history.get(taken.id) == found


async def test_half_of_a_page_of_bytes_is_for_older_ones() -> None:
    class Large(World):
        @staticmethod
        def make(number: int) -> Record:
            return record(number, "x" * 200_000)

    page = await Large(0, 9, 9).history.user_around("bob", at(5)[0], 1000)
    assert ids(page.entries) == at(3, 4, 5, 6, 7)


async def test_nothing_newer_does_not_stand_for_older_ones_that_cannot_be_read() -> None:
    world = World(9, 9, 9)
    world.store.away = True
    with pytest.raises(StoreUnavailable):
        await world.history.channel_around("alice,bob", at(10)[0], 6)


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("limit", [1, 3, 5, 6, 9, 20])
async def test_a_count_of_more_than_a_page_of_bytes(limit: int, newest: bool) -> None:
    class Large(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return record(number, "x" * 340_000)

    world = Large(4, 6, {5, 7, 9}, 9)
    bounds = Bounds(limit, after=at(2)[0], before=at(12)[0], newest=newest)
    assert await world.history.records.count_user("bob", bounds, MESSAGES_ALONE) == min(limit, 9)


async def test_a_client_id_is_found_under_its_whole_key() -> None:
    world = World(0, 0, 0)
    one = record(1, client_id="k")
    world.store.records[one.id] = one
    find = world.history.find_client_id
    assert await find("alice", "alice,bob", "k") == (one.id, one.digest)
    assert await find("bob", "alice,bob", "k") is None
    assert await find("alice", "alice,carol", "k") is None
    assert await find("alice", "alice,bob", "l") is None
    assert await find("alice", "alice,bob", "k", after=one.id - 1) == (one.id, one.digest)
    assert await find("alice", "alice,bob", "k", after=one.id) is None
    lowest = accept(draft(client_id="lowest"), 1)
    world.store.records[1] = lowest
    assert await find("alice", "alice,bob", "lowest") == (1, lowest.digest)


@in_virtual_time
async def test_after_a_failure_the_store_is_asked_again_after_a_second() -> None:
    world = World(3, 3, 3)
    world.store.away = True
    for wait, reads in ((0.0, 1), (0.9, 1), (0.2, 2)):
        await asyncio.sleep(wait)
        with pytest.raises(StoreUnavailable):
            await world.history.get(at(1)[0])
        assert world.store.reads == reads, passed()
