"""History reads each message once, wherever it lies, and never less than was accepted."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import HistoryBusy, StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.breaker import Breaker
from chatsvc.storage.history.history import History
from chatsvc.storage.history.read_queue import ReadQueue
from chatsvc.storage.retention import Expiry
from tests.support.history_worlds import Merged, Refilling, World, at, ids
from tests.support.memory_store import MemoryStore
from tests.support.records import START, other_kind, record, records


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
                assert await world.history.count_user("bob", bounds) == len(kept)


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


@pytest.mark.parametrize("evicted", [0, 5, 9])
async def test_a_listing_stays_within_the_bytes_of_a_page(evicted: int) -> None:
    world = World.of_large(evicted, 9, other="u{}")
    read: list[int] = []
    before = MAX_ID
    while True:
        page = await world.history.conversations("alice", before=before, limit=1000)
        read += [one.last_id for one in page.conversations]
        assert len(page.conversations) == 3
        if not page.has_more:
            break
        before = read[-1]
    assert read == at(*range(9, 0, -1))


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
        history.count_user("alice", Bounds(50, after=START + 4 * STEP)),
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
    assert await history.count_user("alice", Bounds(50)) == 4
    assert await history.get(START + 4 * STEP) is None
    (conversation,) = (await history.conversations("bob", before=MAX_ID, limit=5)).conversations
    assert conversation.last_id == START + 9 * STEP


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


# --- the store is away


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
        history.count_user("alice", Bounds(50)),
        history.get(START + STEP),
        history.conversations("carol", before=MAX_ID, limit=5),
        history.find_client_id("alice", "alice,bob", "k"),
    ):
        with pytest.raises(StoreUnavailable):
            await read


async def test_after_a_failure_reads_fail_at_once_for_a_while() -> None:
    now = 0.0
    breaker = Breaker(1.0, clock=lambda: now)
    calls = 0
    away = True

    async def call() -> int:
        nonlocal calls
        calls += 1
        if away:
            raise StoreUnavailable("away")
        return calls

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await breaker.run(call)
    assert calls == 1
    now = 1.0
    with pytest.raises(StoreUnavailable):
        await breaker.run(call)
    assert calls == 2
    now, away = 1.5, False
    with pytest.raises(StoreUnavailable, match="does not answer") as refused:
        await breaker.run(call)
    assert refused.value.retry_after == pytest.approx(0.5)
    now = 2.0
    assert await breaker.run(call) == 3
    assert await breaker.run(call) == 4


async def test_while_one_read_tries_the_others_need_not() -> None:
    now = 0.0
    breaker = Breaker(1.0, clock=lambda: now)
    gate = asyncio.Event()

    async def fail() -> None:
        raise StoreUnavailable("away")

    async def slow() -> str:
        await gate.wait()
        return "back"

    with pytest.raises(StoreUnavailable):
        await breaker.run(fail)
    now = 1.0
    trial = asyncio.ensure_future(breaker.run(slow))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await breaker.run(slow)
    gate.set()
    assert await trial == "back"
    assert await breaker.run(slow) == "back"


# --- conversations


class Many(World):
    """The conversations of alice: with user1, user2 and user3 in turn."""

    @staticmethod
    def make(number: int) -> Record:
        return record(number, to=("alice", f"user{number % 3}"))


@pytest.mark.parametrize(
    ("evicted", "stored"), [(0, 0), (0, 4), (0, 9), (2, 2), (3, 5), (9, 9), (8, 9)]
)
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_conversations_page_over_every_seam(evicted: int, stored: int, limit: int) -> None:
    world = Many(evicted, stored, 9)
    found: list[tuple[str, int]] = []
    before = MAX_ID
    for _ in range(10):
        page = await world.history.conversations("alice", before=before, limit=limit)
        assert page.complete
        found += [(one.channel, one.last_id) for one in page.conversations]
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    assert found == [
        ("alice,user0", START + 9 * STEP),
        ("alice,user2", START + 8 * STEP),
        ("alice,user1", START + 7 * STEP),
    ]


async def test_conversations_without_the_store() -> None:
    world = Many(evicted=7, stored=8, accepted=9)
    world.store.away = True
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [one.last_id for one in page.conversations] == at(9, 8)
    assert (page.has_more, page.complete) == (True, False)


async def test_a_conversation_that_moves_while_the_store_is_read_is_seen_once() -> None:
    world = Many(evicted=9, stored=9, accepted=9)

    def speak() -> None:
        world.store.before_read = None
        fresh = Many.make(10)
        world.tail.extend([fresh])
        world.store.records[fresh.id] = fresh
        world.tail.advance(fresh.id)

    world.store.before_read = speak
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [(one.channel, one.last_id) for one in page.conversations] == [
        ("alice,user1", START + 10 * STEP),
        ("alice,user0", START + 9 * STEP),
        ("alice,user2", START + 8 * STEP),
    ]


async def test_a_conversation_that_a_torn_listing_missed_comes_from_the_tail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Many(evicted=9, stored=9, accepted=9)
    whole = world.store.conversations

    async def torn(user: str, *, before: int, limit: int) -> list[Conversation]:
        # user1's moved to the top of the index after the walk had passed there.
        found = await whole(user, before=before, limit=limit)
        world.tail.extend([Many.make(10)])
        return [one for one in found if one.channel != "alice,user1"]

    monkeypatch.setattr(world.store, "conversations", torn)
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [one.last_id for one in page.conversations] == at(10, 9, 8)


# --- retention


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
    assert await history.count_user("alice", Bounds(9)) == 1
    assert await history.get(ancient.id) is None
    assert await history.get(START + 2 * STEP) is None
    shown = (await history.conversations("alice", before=MAX_ID, limit=9)).conversations
    assert [one.channel for one in shown] == ["alice,bob"]


@pytest.mark.parametrize("expired", range(8))
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_pages_of_conversations_end_with_many_that_are_expired_and_not_purged(
    expired: int, limit: int
) -> None:
    store = MemoryStore()
    everything = [record(number, to=("alice", f"u{number}")) for number in range(1, 9)]
    store.records = {one.id: one for one in everything}
    floor = everything[-1].id
    tail = Tail(recent_bytes=0, watermark=floor, floor=floor)
    expiry = Expiry(1, lambda seconds: START + expired * STEP if expired else 0)
    history = History(store, tail, expiry=expiry)
    found: list[int] = []
    before = MAX_ID
    for _ in range(9):
        page = await history.conversations("alice", before=before, limit=limit)
        found += [one.last_id for one in page.conversations]
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    else:
        pytest.fail("no end")
    assert found == at(*range(8, expired, -1))


# --- a log that may lack what the store holds, and a store that lacks what the log held


SEAMS = [
    (0, 0, {2, 3}, 3),
    (0, 2, {1, 5, 6}, 6),
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
            assert await world.history.count_user("bob", bounds) == len(kept)
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
    world.tail.confront(stored=START + 8 * STEP, base=0, hole=None)
    assert (await world.history.user_page("bob", Bounds(20))).complete


async def test_what_is_lost_for_good_is_named_by_the_pages_that_touch_it() -> None:
    world = Refilling(8)
    lost = (START + 2 * STEP, START + 4 * STEP)
    world.tail.confront(stored=START + 8 * STEP, base=0, hole=lost)
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


# --- any interleaving


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
