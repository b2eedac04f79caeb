"""In which pages and pieces a resume reads and writes, and what it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chatsvc.core.membership import Interval
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, RecordPage
from chatsvc.core.record import Record
from chatsvc.delivery.connection import HIGH_WATER, Connection
from chatsvc.delivery.resume import Plan
from testkit.drafts import record
from tests.unit.support.resuming import SOON, Resumption, shown, turns
from tests.unit.support.sockets import attach, connection

PAGE_BYTES = 256 * 1024


def sized(at: int, size: int) -> Record:
    """A record whose body has exactly so many bytes."""
    return record(at, "x" * (size - len(record(at, "x").body) + 1))


class Asking(Resumption):
    """Notes the pages that it reads and what it counts."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.asked: list[tuple[str, str, Bounds]] = []
        from_tail, from_store = self.tail.user_page, self.store.user_page
        count = self.store.count_user

        def tail_page(
            user: str, bounds: Bounds, intervals: Sequence[Interval] = ()
        ) -> list[Record]:
            self.asked.append(("tail", user, bounds))
            return from_tail(user, bounds, intervals)

        async def store_page(
            user: str, bounds: Bounds, kinds: frozenset[str] | None = None
        ) -> RecordPage:
            self.asked.append(("store", user, bounds))
            return await from_store(user, bounds, kinds)

        async def count_user(user: str, bounds: Bounds, kinds: frozenset[str] | None = None) -> int:
            self.asked.append(("count", user, bounds))
            return await count(user, bounds, kinds)

        self.tail.user_page = tail_page  # type: ignore[method-assign]
        self.store.user_page = store_page  # type: ignore[method-assign]
        self.store.count_user = count_user  # type: ignore[method-assign]


async def test_what_is_asked_of_the_store_and_then_of_the_tail() -> None:
    one = Asking(max_messages=300)
    one.accept(*(record(at) for at in range(1, 251)))
    one.tail.advance(120)
    plan, transport = await one.resume(one.cursor(10))
    assert plan == Plan(10, True)
    assert len(shown(transport)) == 241
    store = Bounds(100, 10, 121, newest=False, max_bytes=PAGE_BYTES)
    tail = Bounds(100, 120, newest=False, max_bytes=PAGE_BYTES)
    assert one.asked == [
        ("count", "bob", Bounds(301, 10, newest=False, max_bytes=NO_BYTE_BOUND)),
        ("store", "bob", store),
        ("store", "bob", store._replace(after=110)),
        ("tail", "bob", tail),
        ("tail", "bob", tail._replace(after=220)),
    ]


async def test_in_the_tail_missed_messages_are_counted_without_their_bytes() -> None:
    one = Asking(recent_bytes=1 << 20, max_messages=5)
    one.accept(*(record(at) for at in range(1, 4)))
    assert await one.resumer.plan("bob", one.cursor(1)) == Plan(1, True)
    assert one.asked == [("tail", "bob", Bounds(6, 1, newest=False, max_bytes=NO_BYTE_BOUND))]


async def test_a_cursor_at_the_head_misses_nothing() -> None:
    one = Resumption()
    one.accept(record(1))
    assert await one.resumer.plan("bob", one.cursor(1)) == Plan(1, True)


async def test_how_far_one_is_behind_is_looked_at_every_sixteen_pages() -> None:
    one = Asking(max_messages=10_000)
    one.accept(*(record(at) for at in range(1, 3301)))
    one.tail.advance(3300)
    bob = connection("bob", "laptop")
    attach(bob)
    one.resumer.take_over(bob, 0)
    async with asyncio.timeout(SOON):
        while bob.waiting is not None:  # noqa: ASYNC110 - it goes by turns of the loop
            await asyncio.sleep(0)
    kinds = [kind for kind, _, _ in one.asked]
    assert kinds[:36] == ["count", *["store"] * 16, "count", *["store"] * 16, "count", "store"]


@pytest.mark.parametrize(("missed", "told"), [(5, False), (6, True)])
async def test_one_may_be_behind_by_as_many_as_a_resume_replays(missed: int, told: bool) -> None:
    one = Asking(recent_bytes=1 << 20, max_messages=5)
    one.accept(*(record(at) for at in range(1, missed + 1)), record(99, to=("carol",)))
    bob = connection("bob", "laptop")
    transport = attach(bob)
    one.resumer.take_over(bob, 0)
    await turns(5)
    assert bob.live
    assert shown(transport) == ([("gap", 0, 99)] if told else list(range(1, missed + 1)))
    assert {user for _, user, _ in one.asked} == {"bob"}


async def test_a_piece_is_filled_to_the_high_water_mark_and_no_more() -> None:
    one = Resumption(recent_bytes=1 << 30)
    half, quarter = HIGH_WATER // 2, HIGH_WATER // 4
    sizes = [half, half, half, quarter, quarter, half, half + 1, half, quarter]
    one.accept(*(sized(at, size) for at, size in enumerate(sizes, 1)))
    _, transport = await one.resume(one.cursor(0))
    bodies = [
        half + half,
        half + quarter + quarter,
        half,
        half + 1,
        half + quarter,
    ]
    # A frame of up to 65,535 bytes has a head of four bytes.
    frames = [2, 3, 1, 1, 2]
    written = [size + 4 * count for size, count in zip(bodies, frames, strict=True)]
    assert transport.writes[:-1] == written
    assert one.resumer.replayed == len(sizes)


async def test_all_that_fall_behind_and_all_gaps_are_counted() -> None:
    one = Resumption(recent_bytes=1 << 20)
    one.accept(record(1))
    for _ in range(2):
        await one.resume("rubbish")
        bob = connection("bob", "laptop")
        attach(bob)
        one.resumer.take_over(bob, 1)
        await turns(5)
        assert bob.live
    assert (one.resumer.gaps, one.resumer.fell_behind) == (2, 2)


@pytest.mark.parametrize("behind", [False, True])
async def test_one_whose_resume_fails_is_cut_and_counts_as_connected_no_more(
    monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    reasons: list[str] = []
    cut = Connection.cut

    def noting(self: Connection, reason: str) -> None:
        reasons.append(reason)
        cut(self, reason)

    async def breaks(user: str, bounds: Bounds, kinds: None) -> RecordPage:
        raise ZeroDivisionError

    monkeypatch.setattr(Connection, "cut", noting)
    one = Resumption()
    one.accept(record(1))
    one.tail.advance(1)
    one.store.user_page = breaks  # type: ignore[method-assign]
    bob = connection("bob", "laptop")
    transport = attach(bob)
    if behind:
        one.hub.add(bob)
        one.resumer.take_over(bob, 0)
    else:
        one.resumer.start(bob, Plan(0, True))
    await turns()
    assert reasons == ["error"]
    assert transport.aborted
    assert one.hub.size == 0
    assert not one.resumer._tasks
