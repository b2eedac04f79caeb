"""Pages of messages over store and tail, also while the store is away."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from testkit.records import MESSAGES_ALONE, START, other_kind, record, records
from tests.unit.support.history_worlds import World, at, ids


@pytest.mark.parametrize(("evicted", "stored"), [(0, 0), (0, 5), (3, 3), (3, 6), (9, 9), (6, 9)])
@pytest.mark.parametrize("newest", [True, False])
async def test_every_stretch_over_every_seam(evicted: int, stored: int, newest: bool) -> None:
    world = World(evicted, stored, 9)
    for after in range(10):
        for before in range(after, 12):
            for limit in (1, 2, 3, 9, 20):
                bounds = Bounds(limit, START + after * STEP, START + before * STEP, newest)
                inside = [START + n * STEP for n in range(1, 10) if after < n < before]
                kept = inside[-limit:] if newest else inside[:limit]
                for page in (
                    await world.history.channel_page("alice,bob", bounds),
                    await world.history.user_page("bob", bounds),
                ):
                    assert ids(page.entries) == kept
                    assert page.has_more == (len(inside) > limit)
                    assert page.complete
                assert await world.history.records.count_user("bob", bounds, MESSAGES_ALONE) == len(
                    kept
                )


@pytest.mark.parametrize(("evicted", "stored"), [(0, 0), (0, 5), (3, 3), (3, 6), (9, 9), (6, 9)])
@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("messages", [0.5, 1.0, 2.5, 3.0, 8.0, 9.0])
async def test_pages_bounded_by_bytes_yield_each_message_once(
    evicted: int, stored: int, newest: bool, messages: float
) -> None:
    world = World(evicted, stored, 9)
    size = len(record(1).body)
    bounds = Bounds(1000, newest=newest, max_bytes=int(size * messages))
    each = max(int(messages), 1)
    read: list[int] = []
    while True:
        page = await world.history.user_page("bob", bounds)
        found = ids(page.entries)
        assert len(found) == min(each, 9 - len(read))
        assert page.has_more == (len(read) + len(found) < 9)
        read = found + read if newest else read + found
        if not page.has_more:
            break
        bounds = bounds._replace(before=found[0]) if newest else bounds._replace(after=found[-1])
    assert read == at(*range(1, 10))


@pytest.mark.parametrize("evicted", [0, 5, 9])
async def test_around_an_id_stays_within_the_bytes_of_a_page(evicted: int) -> None:
    world = World.of_large(evicted, 9)
    middle = START + 5 * STEP
    page = await world.history.user_around("bob", middle, 1000)
    assert ids(page.entries) == at(4, 5, 6)
    assert page.has_more


@pytest.mark.parametrize("evicted", [0, 4, 9])
async def test_around_an_id(evicted: int) -> None:
    world = World(evicted, 9, 9)
    for read in (
        lambda at, limit: world.history.channel_around("alice,bob", at, limit),
        lambda at, limit: world.history.user_around("alice", at, limit),
    ):
        page = await read(START + 5 * STEP, 5)
        assert (ids(page.entries), page.has_more) == (at(3, 4, 5, 6, 7), True)
        page = await read(START + 5 * STEP + 1, 4)  # no such id
        assert (ids(page.entries), page.has_more) == (at(4, 5, 6, 7), True)
        page = await read(START + STEP, 4)  # nothing below: the rest comes from above
        assert (ids(page.entries), page.has_more) == (at(1, 2, 3, 4), True)
        page = await read(START + 9 * STEP, 100)
        assert (ids(page.entries), page.has_more) == (at(*range(1, 10)), False)
        page = await read(START + 2 * STEP, 1)
        assert (ids(page.entries), page.has_more) == (at(2), True)
        assert ids((await read(0, 2)).entries) == at(1, 2)
        assert ids((await read(MAX_ID, 2)).entries) == at(9)


async def test_what_lies_in_the_tail_never_touches_the_store() -> None:
    world = World(evicted=3, stored=6, accepted=9)
    history = world.history
    for read in (
        history.channel_page("alice,bob", Bounds(5)),
        history.channel_page("alice,bob", Bounds(3, before=START + 8 * STEP)),
        history.channel_page("alice,bob", Bounds(50, after=START + 3 * STEP, newest=False)),
        history.user_page("alice", Bounds(50, after=START + 4 * STEP, newest=False)),
        history.records.count_user("alice", Bounds(50, after=START + 4 * STEP), MESSAGES_ALONE),
        history.get(START + 4 * STEP),
        history.get(START + 99 * STEP),
    ):
        await read
    assert world.store.reads == 0


async def test_records_of_other_kinds_are_no_messages() -> None:
    world = World(0, 0, 2)
    world.tail.extend([other_kind(n) for n in range(3, 8)])
    world.tail.extend(records(2, first=8))
    world.tail.extend([other_kind(10)])
    history = world.history
    assert ids((await history.channel_page("alice,bob", Bounds(3))).entries) == at(2, 8, 9)
    oldest = await history.user_page("alice", Bounds(3, newest=False))
    assert (ids(oldest.entries), oldest.has_more) == (at(1, 2, 8), True)
    assert await history.records.count_user("alice", Bounds(50), MESSAGES_ALONE) == 4
    assert await history.get(START + 4 * STEP) is None
    (conversation,) = (await history.conversations("bob", before=MAX_ID, limit=5)).conversations
    assert conversation.last_id == START + 9 * STEP


async def test_the_newest_page_says_that_it_is_not_complete() -> None:
    world = World(evicted=3, stored=5, accepted=9)
    world.store.away = True
    page = await world.history.channel_page("alice,bob", Bounds(50))
    assert (ids(page.entries), page.has_more, page.complete) == (at(*range(4, 10)), True, False)
    page = await world.history.user_around("bob", START + 5 * STEP, 8)
    assert (ids(page.entries), page.complete) == (at(4, 5, 6, 7, 8, 9), False)
    page = await world.history.user_around("bob", START + 4 * STEP, 4)
    assert (ids(page.entries), page.has_more, page.complete) == (at(4, 5, 6, 7), True, False)


async def test_what_the_tail_holds_whole_is_complete_even_then() -> None:
    world = World(evicted=3, stored=5, accepted=9)
    world.store.away = True
    page = await world.history.channel_page("alice,bob", Bounds(6, before=START + 8 * STEP))
    assert not page.complete
    page = await world.history.channel_page("alice,bob", Bounds(3, before=START + 8 * STEP))
    assert (ids(page.entries), page.complete) == (at(5, 6, 7), True)
    page = await world.history.user_page("alice", Bounds(50, after=START + 3 * STEP, newest=False))
    assert (ids(page.entries), page.complete) == (at(*range(4, 10)), True)


async def test_older_pages_and_pages_with_a_hole_are_refused() -> None:
    world = World(evicted=3, stored=5, accepted=9)
    world.store.away = True
    history = world.history
    for read in (
        history.channel_page("alice,bob", Bounds(5, before=START + 4 * STEP)),
        history.channel_page("alice,bob", Bounds(50, after=START + 2 * STEP, newest=False)),
        history.channel_page("alice,carol", Bounds(5)),
        history.user_around("alice", START + 2 * STEP, 9),
        history.records.count_user("alice", Bounds(50), MESSAGES_ALONE),
        history.get(START + STEP),
        history.conversations("carol", before=MAX_ID, limit=5),
        history.find_client_id("alice", "alice,bob", "k"),
    ):
        with pytest.raises(StoreUnavailable):
            await read


async def test_around_the_first_of_the_tail_there_may_be_more_in_a_store_that_is_away() -> None:
    world = World(5, 5, 9)
    world.store.away = True
    page = await world.history.channel_around("alice,bob", at(6)[0], 8)
    assert (ids(page.entries), page.has_more, page.complete) == (at(6, 7, 8, 9), True, False)
