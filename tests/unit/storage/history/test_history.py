"""History reads each message once, wherever it lies, and never less than was accepted."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.errors import HistoryBusy, StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.history.read_queue import ReadQueue
from chatsvc.storage.retention import Expiry
from testkit.memory_store import MemoryStore
from testkit.records import MESSAGES_ALONE, START, record
from tests.unit.support.history_worlds import World, at, ids


async def test_one_message_is_accepted_then_stored() -> None:
    world = World(evicted=2, stored=4, accepted=6)
    for number, state in ((1, "stored"), (3, "stored"), (4, "stored"), (5, "accepted")):
        found = await world.history.get(START + number * STEP)
        assert found is not None
        assert (found[0].id, found[1]) == (START + number * STEP, state)
    assert await world.history.get(START + STEP + 1) is None


async def test_a_message_that_moves_while_the_store_is_read_is_seen_once() -> None:
    world = World(evicted=3, stored=3, accepted=8)
    small = Tail(recent_bytes=1, watermark=world.tail.floor, floor=world.tail.floor)
    small.extend([World.make(n) for n in range(4, 9)])
    history = History(world.store, small)

    def persist_and_evict() -> None:
        for number in range(4, 9):
            one = World.make(number)
            world.store.records[one.id] = one
        small.advance(small.head)
        assert len(small) == 0

    world.store.before_read = persist_and_evict
    page = await history.channel_page("alice,bob", Bounds(50))
    assert ids(page.entries) == at(*range(1, 9))
    page = await history.user_page("alice", Bounds(50, newest=False))
    assert ids(page.entries) == at(*range(1, 9))


@pytest.mark.parametrize(("evicted", "stored"), [(0, 0), (0, 5), (5, 5), (9, 9)])
async def test_participants_are_found_over_every_seam(evicted: int, stored: int) -> None:
    world = World(evicted, stored, 9)
    for user in ("alice", "bob"):
        assert await world.history.participants(user, "alice,bob") == ("alice", "bob")
    assert await world.history.participants("eve", "alice,bob") is None
    assert await world.history.participants("alice", "alice,eve") is None


async def test_a_conversation_of_others_costs_what_one_that_is_not_there_costs() -> None:
    """Or the time of the answer would tell them apart."""
    world = World(3, 6, 9)
    for channel in ("alice,bob", "carol,dave"):
        before = world.store.reads
        assert await world.history.participants("eve", channel) is None
        assert world.store.reads - before == 1
    world.store.away = True
    assert await world.history.participants("bob", "alice,bob") == ("alice", "bob")
    for channel in ("alice,bob", "carol,dave"):
        with pytest.raises(StoreUnavailable):
            await world.history.participants("eve", channel)


async def test_a_conversation_that_is_too_old_has_no_participants() -> None:
    old = record(1)
    store = MemoryStore()
    store.records[old.id] = old
    stored = Tail(recent_bytes=1 << 30, watermark=old.id, floor=old.id)
    recent = Tail(recent_bytes=1 << 30)
    recent.extend([old])
    for tail in (stored, recent):
        for expired, found in ((old.id, None), (old.id - 1, ("alice", "bob"))):
            expiry = Expiry(1, lambda _, up_to=expired: up_to)  # type: ignore[misc]
            history = History(store, tail, expiry=expiry)
            assert await history.participants("alice", "alice,bob") == found


async def test_what_is_too_old_is_not_shown_wherever_it_lies() -> None:
    store = MemoryStore()
    ancient = record(1, to=("alice", "zoe"))
    store.records[ancient.id] = ancient
    tail = Tail(recent_bytes=1 << 30, watermark=ancient.id, floor=ancient.id)
    tail.extend([record(2), record(3)])
    expiry = Expiry(2, lambda seconds: START + 2 * STEP)
    history = History(store, tail, expiry=expiry)
    assert ids((await history.user_page("alice", Bounds(9))).entries) == at(3)
    assert ids((await history.channel_page("alice,zoe", Bounds(9))).entries) == []
    assert await history.records.count_user("alice", Bounds(9), MESSAGES_ALONE) == 1
    assert await history.get(ancient.id) is None
    assert await history.get(START + 2 * STEP) is None
    shown = (await history.conversations("alice", before=MAX_ID, limit=9)).conversations
    assert [one.channel for one in shown] == ["alice,bob"]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), recent=st.sampled_from([1, 1500, 4000, 1 << 30]))
def test_any_interleaving_gives_exactly_the_truth(seed: int, recent: int) -> None:
    """Appends, advances and evictions between and during reads: a reader sees all that
    was accepted before it began, once, in order, and nothing that never was."""
    dice = random.Random(seed)
    asyncio.run(_interleave(dice, recent))


async def _interleave(dice: random.Random, recent: int) -> None:
    tail, store = Tail(recent_bytes=recent), MemoryStore()
    history = History(store, tail)
    truth: list[Record] = []

    def move() -> None:
        for _ in range(dice.randrange(4)):
            if dice.random() < 0.5:
                other = f"user{dice.randrange(3)}"
                truth.append(record(len(truth) + 1, to=("alice", other)))
                tail.extend([truth[-1]])
            else:
                for one in tail.batch(tail.watermark, dice.randrange(1, 4), 1 << 20):
                    store.records[one.id] = one
                    if dice.random() < 0.8:
                        tail.advance(one.id)

    store.before_read = move
    for _ in range(12):
        move()
        before_read = len(truth)
        bounds = Bounds(
            dice.randrange(1, 8),
            after=START + dice.randrange(-1, 6) * STEP,
            before=dice.choice([MAX_ID, START + dice.randrange(8) * STEP]),
            newest=dice.random() < 0.5,
        )
        page = await history.user_page("alice", bounds)
        inside = [one.id for one in truth[:before_read] if bounds.after < one.id < bounds.before]
        kept = inside[-bounds.limit :] if bounds.newest else inside[: bounds.limit]
        assert ids(page.entries) == kept
        assert page.has_more == (len(inside) > bounds.limit)

        already = len(truth)
        listing = await history.conversations("alice", before=MAX_ID, limit=9)
        shown = {one.channel: one.last_id for one in listing.conversations}
        assert len(shown) == len(listing.conversations)
        newest = {one.channel: one.id for one in truth[:already]}
        assert shown.keys() >= newest.keys()
        known = {one.id for one in truth}
        for channel, last_id in shown.items():
            assert last_id in known
            assert last_id >= newest.get(channel, 0)


async def test_a_page_that_the_unsaved_fill_asks_no_store() -> None:
    world = World(3, 3, 3)
    unsaved = [record(n, to=("alice", f"u{n}")) for n in range(4, 40)]
    world.tail.extend(unsaved)
    page = await world.history.conversations("alice", before=MAX_ID, limit=10)
    assert [one.last_id for one in page.conversations] == [one.id for one in unsaved[:-11:-1]]
    assert page.has_more
    assert page.complete
    assert world.store.reads == 0


@pytest.mark.parametrize("what", ["channel", "around", "one", "user", "list", "client_id"])
async def test_reads_of_one_user_take_turns(what: str) -> None:
    world = World(9, 9, 9)
    world.store.gate = asyncio.Event()
    history = world.history
    everything = Bounds(10)

    async def read(user: str) -> object:
        if what == "channel":
            return await history.channel_page("alice,bob", everything, reader=user)
        if what == "around":
            return await history.channel_around("alice,bob", at(3)[0], 4, reader=user)
        if what == "one":
            return await history.get(at(3)[0], reader=user)
        if what == "user":
            return await history.user_page(user, everything)
        if what == "list":
            return await history.conversations(user, before=MAX_ID, limit=10)
        return await history.find_client_id(user, "alice,bob", "k")

    reads = [asyncio.ensure_future(read(user)) for user in ["mallory"] * 5 + ["alice", "bob"]]
    for _ in range(20):
        await asyncio.sleep(0)
    assert history.queue._running == {"mallory": 1, "alice": 1, "bob": 1}
    assert history.queue.waiting == 4
    world.store.gate.set()
    await asyncio.gather(*reads)


async def test_a_listing_that_has_no_turn_is_busy_and_not_short() -> None:
    world = World(3, 3, 9)
    world.history._access.queue = ReadQueue(1, waiting=0)
    world.store.gate = asyncio.Event()
    first = asyncio.ensure_future(world.history.channel_page("alice,bob", Bounds(9), reader="a"))
    await asyncio.sleep(0)
    with pytest.raises(HistoryBusy):
        await world.history.channel_page("alice,bob", Bounds(9), reader="b")
    with pytest.raises(HistoryBusy):
        await world.history.conversations("bob", before=MAX_ID, limit=10)
    world.store.gate.set()
    assert len((await first).entries) == 9
