"""A log that may lack what the store holds, and a store that lacks what the log held."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from testkit.records import MESSAGES_ALONE, START, record
from tests.unit.support.history_worlds import Merged, Refilling, at, ids

SEAMS = [
    (0, 0, {2, 3}, 3),
    (0, 2, {1, 5, 6}, 6),
    (0, 4, {5}, 6),
    (0, 4, {5, 6}, 6),
    (4, 6, {5, 7, 9}, 9),
    (4, 4, {6}, 6),
    (9, 9, {3}, 3),
]


@pytest.mark.parametrize(("evicted", "stored", "lost", "base"), SEAMS)
@pytest.mark.parametrize("newest", [True, False])
async def test_up_to_the_base_store_and_log_are_read_as_one(
    evicted: int, stored: int, lost: set[int], base: int, newest: bool
) -> None:
    world = Merged(evicted, stored, lost, base)
    for after in range(13):
        for limit in (1, 2, 5, 20):
            bounds = Bounds(limit, START + after * STEP, START + 12 * STEP, newest)
            inside = at(*range(after + 1, 12))
            kept = inside[-limit:] if newest else inside[:limit]
            page = await world.history.user_page("bob", bounds)
            assert (ids(page.entries), page.complete) == (kept, True)
            assert page.has_more == (len(inside) > limit)
            assert await world.history.records.count_user("bob", bounds, MESSAGES_ALONE) == len(
                kept
            )
            around = await world.history.channel_around("alice,bob", START + after * STEP, limit)
            assert around.complete


@pytest.mark.parametrize("messages", [0.5, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("newest", [True, False])
async def test_pages_of_both_bounded_by_bytes_yield_each_message_once(
    newest: bool, messages: float
) -> None:
    world = Merged(4, 6, {5, 7, 9}, 9)
    bounds = Bounds(1000, newest=newest, max_bytes=int(len(record(1).body) * messages))
    read: list[int] = []
    while True:
        page = await world.history.user_page("bob", bounds)
        found = ids(page.entries)
        read = found + read if newest else read + found
        if not page.has_more:
            break
        bounds = bounds._replace(before=found[0]) if newest else bounds._replace(after=found[-1])
    assert read == at(*range(1, 13))


async def test_without_the_store_what_it_alone_may_hold_makes_a_page_incomplete() -> None:
    world = Merged(4, 6, {5, 7, 9}, 9)
    world.store.away = True
    page = await world.history.user_page("bob", Bounds(5))
    assert (ids(page.entries), page.complete, page.has_more) == (at(6, 8, 10, 11, 12), False, True)
    page = await world.history.user_page("bob", Bounds(5, after=START + 9 * STEP, newest=False))
    assert (ids(page.entries), page.complete) == (at(10, 11, 12), True)
    with pytest.raises(StoreUnavailable):
        await world.history.user_page("bob", Bounds(5, after=START + 5 * STEP, newest=False))


async def test_two_messages_under_one_id_are_not_called_complete() -> None:
    world = Merged(4, 4, {6}, 9)
    other = record(8, "another")
    world.store.records[other.id] = other
    assert not (await world.history.user_page("bob", Bounds(20))).complete
    with pytest.raises(StoreUnavailable, match="another message under this id"):
        await world.history.get(other.id)
    world.store.away = True
    found = await world.history.get(other.id)
    assert found is not None
    assert found[1] == "accepted"


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
@pytest.mark.parametrize(("evicted", "stored", "lost", "base"), SEAMS)
async def test_conversations_are_listed_by_the_newer_of_both(
    evicted: int, stored: int, lost: set[int], base: int, limit: int
) -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return record(number, to=("alice", f"user{number % 5}"))

    world = Listed(evicted, stored, lost, base)
    found: list[tuple[str, int]] = []
    before = MAX_ID
    for _ in range(10):
        page = await world.history.conversations("alice", before=before, limit=limit)
        # Some of the log's own have yet to find out whether the store has others there.
        unsettled = any(n not in lost for n in range(stored + 1, base + 1))
        low = page.conversations[-1].last_id if page.has_more else 0
        assert page.complete == (not unsettled or low > START + base * STEP)
        found += [(one.channel, one.last_id) for one in page.conversations]
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    assert found == [(f"alice,user{n % 5}", START + n * STEP) for n in (12, 11, 10, 9, 8)]


async def test_what_is_in_neither_yet_is_never_called_complete() -> None:
    world = Refilling(3)
    page = await world.history.user_page("bob", Bounds(20))
    assert (ids(page.entries), page.complete) == (at(1, 2, 3, 9, 10, 11, 12), False)
    for bounds, numbers in (
        (Bounds(3), (10, 11, 12)),
        (Bounds(2, before=START + 3 * STEP + 1), (2, 3)),
        (Bounds(2, newest=False), (1, 2)),
        (Bounds(9, after=START + 8 * STEP, newest=False), (9, 10, 11, 12)),
    ):
        page = await world.history.user_page("bob", bounds)
        assert (ids(page.entries), page.complete) == (at(*numbers), True), bounds
    for bounds in (
        Bounds(1, before=START + 5 * STEP),
        Bounds(5, newest=False),
        Bounds(1, after=START + 3 * STEP, newest=False),
    ):
        assert not (await world.history.user_page("bob", bounds)).complete, bounds


async def test_what_is_in_neither_yet_is_not_called_unknown() -> None:
    world = Refilling(3)
    for number, state in ((3, "stored"), (9, "accepted")):
        found = await world.history.get(START + number * STEP)
        assert found is not None
        assert found[1] == state
    with pytest.raises(StoreUnavailable, match="filled up again"):
        await world.history.get(START + 5 * STEP)
    assert await world.history.get(START + 13 * STEP) is None
    world.tail.advance(START + 12 * STEP)
    assert await world.history.get(START + 5 * STEP) is None


async def test_what_a_store_answers_that_was_not_met_is_not_called_complete() -> None:
    world = Refilling(8)
    world.tail.confirmed = False
    assert not (await world.history.user_page("bob", Bounds(20))).complete
    assert (await world.history.user_page("bob", Bounds(4))).complete
    world.tail.set_store_positions(stored=START + 8 * STEP, base=0, hole=None)
    assert (await world.history.user_page("bob", Bounds(20))).complete


async def test_what_is_lost_for_good_is_named_by_the_pages_that_touch_it() -> None:
    world = Refilling(8)
    lost = (START + 2 * STEP, START + 4 * STEP)
    world.tail.set_store_positions(stored=START + 8 * STEP, base=0, hole=lost)
    for bounds, found in (
        (Bounds(20), lost),
        (Bounds(8), None),
        (Bounds(9), lost),
        (Bounds(1, after=START + 3 * STEP, newest=False), lost),
        (Bounds(1, after=START + 4 * STEP, newest=False), None),
        (Bounds(2, newest=False), None),
    ):
        page = await world.history.user_page("bob", bounds)
        assert page.complete, "what is there is all there: nobody need wait for the rest"
        assert page.lost == found, bounds
    around = await world.history.channel_around("alice,bob", START + 5 * STEP, 6)
    assert (around.complete, around.lost) == (True, lost)
    listing = await world.history.conversations("bob", before=MAX_ID, limit=5)
    assert (listing.complete, listing.lost, listing.has_more) == (True, lost, False)


async def test_a_listing_that_a_store_lacks_a_part_of_ends_and_says_so() -> None:
    world = Refilling(3)
    listing = await world.history.conversations("bob", before=MAX_ID, limit=5)
    assert [one.last_id for one in listing.conversations] == at(12)
    assert (listing.complete, listing.has_more) == (False, False)
