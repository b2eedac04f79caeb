"""The tail against a plain list: whatever happens, it holds what it says it holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatsvc.core.audience import is_large
from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES, audience_bytes
from chatsvc.log.tail import Tail, overlap
from chatsvc.log.user_lists import NOTE_BYTES
from testkit.drafts import record

RECENT = 8_000
USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
POSITIONS = st.integers(0, 400)
BOUNDS = st.builds(
    Bounds,
    limit=st.integers(1, 20),
    after=POSITIONS,
    before=POSITIONS,
    newest=st.booleans(),
    max_bytes=st.integers(0, 4_000) | st.just(NO_BYTE_BOUND),
)


def cut(records: Sequence[Record], bounds: Bounds) -> list[Record]:
    """Without the last, or with two of them, it is always within ``max_bytes``."""
    inside = [entry for entry in records if bounds.after < entry.id < bounds.before]
    page = inside[-bounds.limit :] if bounds.newest else inside[: bounds.limit]
    while len(page) > 2:
        shorter = page[1:] if bounds.newest else page[:-1]
        if sum(len(entry.body) for entry in shorter) <= bounds.max_bytes:
            break
        page = shorter
    return page


def cost(held: Sequence[Record]) -> int:
    """Of the records, of the lists that they are in, and of the names that they share."""
    users = {user for entry in held if not is_large(entry.audience) for user in entry.audience}
    channels = {entry.channel: entry.audience for entry in held}
    return (
        sum(entry.cost for entry in held)
        + NOTE_BYTES * sum(len(names) for names in channels.values() if is_large(names))
        + LIST_BYTES * (len(users) + len(channels))
        + sum(audience_bytes(channel, names) for channel, names in channels.items())
    )


class TailAgainstAList(RuleBasedStateMachine):
    """``accepted`` is everything there ever was; the tail is its end above the floor."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = Tail(recent_bytes=RECENT)
        self.accepted: list[Record] = []
        self.heard: list[Record] = []
        self.tail.listen(self.heard.extend)

    @rule(
        sizes=st.lists(
            st.tuples(
                st.integers(1, 3),
                st.sampled_from(USERS),
                st.sets(st.sampled_from(USERS), min_size=1),
                st.integers(0, 800),
            ),
            max_size=5,
        ),
        counts=st.none() | st.lists(st.integers(1, 5000), min_size=5, max_size=5),
    )
    def extend(self, sizes: list[tuple[int, str, set[str], int]], counts: list[int] | None) -> None:
        batch = []
        last = self.tail.head
        for step, sender, others, size in sizes:
            last += step
            batch.append(record(last, "x" * (size + 1), sender=sender, to=tuple(others)))
        counted = None if counts is None else counts[: len(batch)]
        for entry, size in zip(batch, counted or (), strict=counted is not None):
            self.tail.backlog.add(entry.sender, size)  # as who waited for the commit
        self.tail.extend(batch, counted)
        self.accepted += batch

    @precondition(lambda self: bool(self.accepted))
    @rule(data=st.data())
    def advance(self, data: st.DataObject) -> None:
        before = self.tail.watermark
        to = data.draw(st.integers(0, self.tail.head + 5))
        self.tail.advance(to)
        assert self.tail.watermark == max(before, min(to, self.tail.head))

    @rule(bounds=BOUNDS, user=st.sampled_from(USERS))
    def read(self, bounds: Bounds, user: str) -> None:
        held = self.held()
        assert self.tail.page(bounds) == cut(held, bounds)
        own = [entry for entry in held if user in entry.audience]
        assert self.tail.user_page(user, bounds) == cut(own, bounds)
        for channel in {entry.channel for entry in self.accepted}:
            there = [entry for entry in held if entry.channel == channel]
            assert self.tail.channel_page(channel, bounds) == cut(there, bounds)

    @rule(after=POSITIONS, limit=st.integers(1, 10), most=st.integers(1, 3_000))
    def batch(self, after: int, limit: int, most: int) -> None:
        above = [entry for entry in self.held() if entry.id > after]
        expected: list[Record] = []
        size = 0
        for entry in above[:limit]:
            size += len(entry.body)
            if size > most and expected:
                break
            expected.append(entry)
        assert self.tail.batch(after, limit, most) == expected

    @rule(position=POSITIONS)
    def get(self, position: int) -> None:
        held = {entry.id: entry for entry in self.held()}
        assert self.tail.get(position) == held.get(position)

    def held(self) -> list[Record]:
        return [entry for entry in self.accepted if entry.id > self.tail.floor]

    @invariant()
    def keeps_its_word(self) -> None:
        tail, held = self.tail, self.held()
        assert tail.floor <= tail.watermark <= tail.head
        assert len(tail) == len(held)
        unsaved = [entry for entry in held if entry.id > tail.watermark]
        recent = [entry for entry in held if entry.id <= tail.watermark]
        assert tail.unsaved_count == len(unsaved)
        assert tail.unsaved_bytes == tail.backlog.total
        assert tail.unsaved_bytes >= sum(entry.cost for entry in unsaved)
        assert tail.unsaved_bytes + tail.recent_bytes == cost(held)
        assert tail.recent_bytes <= RECENT or not recent
        senders = {entry.sender for entry in unsaved}
        assert len(tail.backlog) == len(senders)
        assert sum(map(tail.backlog.held_by, senders)) == tail.unsaved_bytes
        assert self.heard == self.accepted


TestTailAgainstAList = TailAgainstAList.TestCase
TestTailAgainstAList.settings = settings(max_examples=60, stateful_step_count=40)


def test_nothing_above_the_watermark_is_ever_dropped() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(at, "x" * 10_000) for at in range(1, 50)])
    assert len(tail) == 49
    tail.advance(20)
    assert (tail.floor, len(tail)) == (20, 29)


def test_complete_above_the_floor_and_the_base_but_never_above_the_head() -> None:
    tail = Tail(recent_bytes=1 << 20, watermark=2, floor=2, base=10, head=10)
    assert tail.complete_above == tail.head == 10
    tail.extend([record(7)])
    assert tail.head == 10, "positions begin above the base"
    tail.extend([record(12)])
    assert (tail.head, tail.complete_above) == (12, 10)
    unmet = Tail(recent_bytes=1 << 20, watermark=2, floor=2, base=1 << 63)
    unmet.extend([record(5)])
    assert unmet.complete_above == unmet.head == 5


def test_a_store_that_lacks_something_is_told_apart_from_the_backlog() -> None:
    tail = Tail(recent_bytes=0, watermark=5, floor=5, stored=2)
    assert (tail.stored, tail.refilling, tail.lacking()) == (2, True, ((2, 5),))
    tail.extend([record(7)])
    assert tail.unsaved_count == 1
    tail.advance(4)
    assert (tail.stored, tail.watermark, tail.lacking()) == (4, 5, ((4, 5),))
    tail.advance(7)
    assert (tail.stored, tail.watermark, tail.refilling, tail.lacking()) == (7, 7, False, ())
    tail.set_store_positions(stored=3, base=9, hole=(1, 2))
    assert (tail.stored, tail.watermark, tail.head, tail.base) == (3, 7, 9, 9)
    assert tail.lacking() == ((3, 7),)
    assert tail.missing() == ((3, 7), (1, 2))
    assert tail.unsaved_count == 0, "it was stored once: it is no backlog"


def test_what_is_in_memory_is_not_lacking_whatever_the_store_has() -> None:
    tail = Tail(recent_bytes=1 << 20, watermark=5, floor=1, stored=2)
    assert tail.lacking() == ()


@pytest.mark.parametrize(
    ("after", "before", "touches"),
    [(0, 3, False), (0, 4, True), (5, 9, False), (4, 9, True), (3, 4, False), (2, 4, True)],
)
def test_a_range_overlaps_another_where_an_id_is_in_both(
    after: int, before: int, touches: bool
) -> None:
    assert overlap([(2, 5)], after, before) == touches


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_record_can_be_taken_out_wherever_it_is(position: int) -> None:
    tail = Tail(recent_bytes=1 << 20)
    tail.extend([record(1, to=("bob",)), record(2, to=("carol",)), record(3, to=("bob",))])
    tail.advance(2)
    tail.drop(position)
    tail.drop(position)
    left = [at for at in (1, 2, 3) if at != position]
    everything = Bounds(10)
    assert [one.id for one in tail.page(everything)] == left
    assert [one.id for one in tail.user_page("alice", everything)] == left
    assert [one.id for one in tail.channel_page("alice,bob", everything)] == [
        at for at in left if at != 2
    ]
    assert tail.get(position) is None
    assert tail.unsaved_count == len(tail._unsaved_costs) == sum(at > 2 for at in left)
    fresh = Tail(recent_bytes=1 << 20)
    fresh.extend(tail.page(everything))
    assert tail.recent_bytes + tail.unsaved_bytes == fresh.unsaved_bytes
    assert tail.backlog.total == tail.unsaved_bytes


def test_a_record_that_goes_takes_its_lanes_with_it() -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(1, to=("bob",)), record(2, to=("carol",))])
    tail.advance(1)
    everything = Bounds(10)
    assert tail.user_page("bob", everything) == []
    assert [entry.id for entry in tail.user_page("alice", everything)] == [2]
    assert "bob" not in tail._users, "or every user there ever was would stay in memory"


def test_a_watcher_that_fails_keeps_nobody_else_from_being_called() -> None:
    """Nor does it end whoever stores: that one calls ``advance``."""
    tail = Tail(recent_bytes=1 << 20)
    seen: list[int] = []

    def fails(watermark: int) -> None:
        raise RuntimeError("a watcher's own trouble")

    tail.watch(fails)
    tail.watch(seen.append)
    tail.extend([record(1), record(2)])
    for watermark in (1, 2):
        tail.advance(watermark)
    assert seen == [1, 2]
    assert tail.watermark == 2


def test_a_listener_that_fails_keeps_nobody_else_from_hearing() -> None:
    tail = Tail(recent_bytes=0)
    heard: list[int] = []

    def broken(_: Sequence[Record]) -> None:
        raise RuntimeError("a listener's own trouble")

    tail.listen(broken)
    tail.listen(lambda records: heard.extend(entry.id for entry in records))
    tail.extend([record(1)])
    assert heard == [1]
    assert tail.head == 1


@given(st.lists(st.integers(1, 3), max_size=200), st.integers(0, 50))
def test_lanes_compact_without_losing_their_place(steps: list[int], keep: int) -> None:
    tail = Tail(recent_bytes=0)
    last = 0
    for step in steps:
        last += step
        tail.extend([record(last)])
        tail.advance(last - keep)
    held = [entry.id for entry in tail.page(Bounds(1000))]
    assert held == [entry for entry in held if entry > tail.floor]
    assert held == sorted(held)
    assert len(tail) == len(held)


@pytest.mark.parametrize("newest", [True, False])
def test_bounds_are_exclusive(newest: bool) -> None:
    tail = Tail(recent_bytes=0)
    tail.extend([record(at) for at in (10, 20, 30)])
    page = tail.page(Bounds(10, after=10, before=30, newest=newest))
    assert [entry.id for entry in page] == [20]
