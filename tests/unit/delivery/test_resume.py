"""Resume: from the store, from the tail, then live, or an announced gap."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, Page
from chatsvc.delivery.connection import HIGH_WATER
from chatsvc.delivery.resume import Plan
from testkit.drafts import record
from tests.unit.support.resuming import SOON, Resumption, shown, turns
from tests.unit.support.sockets import attach, connection


@pytest.mark.parametrize("where", ["tail", "store", "both"])
async def test_what_was_missed_in_order_then_caught_up_then_live(where: str) -> None:
    harness = Resumption(recent_bytes=0 if where != "tail" else 1 << 20)
    harness.accept(*(record(at) for at in range(1, 251)))
    harness.tail.advance({"tail": 250, "store": 250, "both": 130}[where])
    plan, transport = await harness.resume(harness.cursor(10))
    assert plan == Plan(10, True)
    assert shown(transport) == [*range(11, 251), ("caught_up", harness.cursor(250))]
    assert transport.connection.live
    harness.accept(record(251))
    await turns()
    assert shown(transport)[-1] == 251
    assert ("page" in harness.store.calls) == (where != "tail")
    assert harness.resumer.replayed == 240


async def test_nothing_missed_is_caught_up_at_once(  # and joins in the same step
) -> None:
    harness = Resumption()
    harness.accept(record(1))
    _, transport = await harness.resume(harness.cursor(1))
    assert shown(transport) == [("caught_up", harness.cursor(1))]
    assert transport.connection.live


async def test_one_gets_what_is_ones_own_to_get() -> None:
    harness = Resumption(recent_bytes=1 << 20)
    harness.accept(
        record(1, sender="alice"),
        record(2, sender="bob", to=("alice",), origin="phone"),
        record(3, sender="bob", to=("alice",), origin="laptop"),
        record(4, sender="alice", to=("carol",)),
        record(5, sender="bob", to=("alice",), origin="laptop/7"),
    )
    _, plain = await harness.resume(harness.cursor(0))
    _, echo = await harness.resume(harness.cursor(0), echo=True, origin="laptop/7")
    end = ("caught_up", harness.cursor(5))
    assert shown(plain) == [1, end]
    assert shown(echo) == [1, 2, 3, end], "all but what this very connection sent"


async def test_what_comes_during_the_replay_is_in_it_once() -> None:
    harness = Resumption()
    harness.accept(*(record(at) for at in range(1, 151)))
    harness.tail.advance(150)
    harness.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    transport = attach(one)
    running = asyncio.create_task(harness.resumer.run(one, Plan(0, True)))
    await turns()
    harness.accept(record(151))
    harness.tail.advance(151)
    harness.store.gate.set()
    harness.accept(record(152))
    await asyncio.wait_for(running, SOON)
    harness.accept(record(153))
    await turns()
    ids = [entry for entry in shown(transport) if isinstance(entry, int)]
    assert ids == list(range(1, 154))


async def test_it_joins_in_the_step_in_which_nothing_is_left() -> None:
    harness = Resumption(recent_bytes=1 << 20)
    harness.accept(*(record(at) for at in range(1, 301)))
    one = connection("bob", "laptop")
    transport = attach(one)
    running = asyncio.create_task(harness.resumer.run(one, Plan(0, True)))
    at = 300
    while not running.done():
        at += 1
        harness.accept(record(at))
        await asyncio.sleep(0)
        assert at < 5000
    for _ in range(3):
        at += 1
        harness.accept(record(at))
    await turns()
    ids = [entry for entry in shown(transport) if isinstance(entry, int)]
    assert ids == list(range(1, at + 1))


async def test_pages_wait_for_a_slow_reader_and_stay_small() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    harness.accept(*(record(at, "x" * 15_000) for at in range(1, 201)))
    one = connection("bob", "laptop")
    transport = attach(one, capacity=0)
    running = asyncio.create_task(harness.resumer.run(one, Plan(0, True)))
    async with asyncio.timeout(SOON):
        while not running.done():
            await asyncio.sleep(0)
            transport.drain(10_000)
    transport.drain()
    assert not transport.aborted
    assert transport.max_buffered <= 2 * HIGH_WATER + 32_000
    assert len(shown(transport)) == 201


async def test_a_message_longer_than_a_piece_goes_alone() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    harness.accept(*(record(at, "x" * 200_000) for at in range(1, 21)))
    one = connection("bob", "laptop")
    transport = attach(one, capacity=0)
    running = asyncio.create_task(harness.resumer.run(one, Plan(0, True)))
    async with asyncio.timeout(SOON):
        while not running.done():
            await asyncio.sleep(0)
            transport.drain(50_000)
    transport.drain()
    assert not transport.aborted
    assert len(shown(transport)) == 21


@pytest.mark.parametrize(
    "since",
    ["", "rubbish", "another.0000000000000001", "e.00000000000000ff", "E.0000000000000001"],
)
async def test_an_unreadable_cursor_or_one_of_another_epoch_is_a_gap(since: str) -> None:
    harness = Resumption(recent_bytes=1 << 20)
    harness.accept(*(record(at) for at in range(1, 11)))
    plan, transport = await harness.resume(since)
    known = {"another.0000000000000001": 1, "e.00000000000000ff": 10}.get(since, 0)
    assert plan == Plan(10, False, known)
    assert shown(transport) == [("gap", known, 10), ("caught_up", harness.cursor(10))]
    assert harness.resumer.gaps == 1


@pytest.mark.parametrize("stored", [False, True])
async def test_more_than_the_most_is_a_gap_and_as_many_is_not(stored: bool) -> None:
    harness = Resumption(max_messages=100)
    harness.accept(*(record(at) for at in range(1, 201)))
    if stored:
        harness.tail.advance(200)
    plan, transport = await harness.resume(harness.cursor(100))
    assert plan.recovered
    assert len(shown(transport)) == 101
    plan, transport = await harness.resume(harness.cursor(99))
    assert not plan.recovered
    assert shown(transport) == [("gap", 99, 200), ("caught_up", harness.cursor(200))]


async def test_a_cursor_older_than_what_is_kept_is_a_gap() -> None:
    harness = Resumption()
    harness.accept(*(record(at) for at in range(1, 11)))
    harness.tail.advance(10)
    harness.store.oldest = 6
    plan, transport = await harness.resume(harness.cursor(5))
    assert plan == Plan(5, True)
    assert shown(transport) == [6, 7, 8, 9, 10, ("caught_up", harness.cursor(10))]
    plan, transport = await harness.resume(harness.cursor(4))
    assert plan == Plan(10, False, 4)
    assert shown(transport) == [("gap", 4, 10), ("caught_up", harness.cursor(10))]


async def test_a_store_that_is_away_is_a_gap_then_live() -> None:
    harness = Resumption()
    harness.accept(*(record(at) for at in range(1, 11)))
    harness.tail.advance(5)
    harness.store.fails_after = -1
    plan, transport = await harness.resume(harness.cursor(2))
    assert plan == Plan(10, False, 2)
    assert shown(transport) == [("gap", 2, 10), ("caught_up", harness.cursor(10))]
    assert transport.connection.live


async def test_what_the_tail_holds_needs_no_store() -> None:
    harness = Resumption()
    harness.accept(*(record(at) for at in range(1, 11)))
    harness.tail.advance(5)
    harness.store.fails_after = -1
    plan, transport = await harness.resume(harness.cursor(5))
    assert plan.recovered
    assert shown(transport) == [*range(6, 11), ("caught_up", harness.cursor(10))]
    assert harness.store.calls == []


async def test_a_store_that_goes_away_midway_leaves_a_gap_that_is_announced() -> None:
    harness = Resumption()
    harness.accept(*(record(at) for at in range(1, 301)))
    harness.tail.advance(250)
    harness.store.fails_after = 1
    plan, transport = await harness.resume(harness.cursor(0))
    assert plan.recovered
    assert shown(transport) == [
        *range(1, 101), ("gap", 100, 250), *range(251, 301), ("caught_up", harness.cursor(300)),
    ]  # fmt: skip


async def test_whatever_a_store_raises_a_socket_is_not_left_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Resumption()
    harness.accept(record(1))
    harness.tail.advance(1)

    async def breaks(user: str, bounds: Bounds) -> Page:
        raise ZeroDivisionError

    monkeypatch.setattr(harness.store, "user_page", breaks)
    _, transport = await harness.resume(harness.cursor(0))
    assert transport.aborted
    assert not transport.connection.live


async def test_it_is_in_the_hub_while_it_resumes_and_is_passed_by() -> None:
    harness = Resumption()
    harness.accept(record(1))
    harness.tail.advance(1)
    harness.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    transport = attach(one)
    harness.resumer.start(one, Plan(0, True))
    assert list(harness.hub.of("bob")) == [one], "it counts as connected"
    harness.accept(record(2))
    await turns()
    assert shown(transport) == []
    harness.store.gate.set()
    await turns()
    assert shown(transport) == [1, 2, ("caught_up", harness.cursor(2))]
    harness.accept(record(3))
    await turns()
    assert shown(transport)[-1] == 3


async def test_one_that_is_cut_while_it_resumes_does_not_come_back_by_itself() -> None:
    harness = Resumption()
    harness.accept(record(1))
    harness.tail.advance(1)
    harness.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    attach(one)
    harness.resumer.start(one, Plan(0, True))
    await turns(5)
    one.cut("stalled")
    harness.hub.discard(one)
    harness.store.gate.set()
    await turns(5)
    assert harness.hub.size == 0


async def test_a_socket_that_leaves_ends_its_replay() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    harness.accept(*(record(at, "x" * 10_000) for at in range(1, 101)))
    one = connection("bob", "laptop")
    transport = attach(one, capacity=0)
    running = asyncio.create_task(harness.resumer.run(one, Plan(0, True)))
    await turns()
    assert not running.done()
    transport.lose()
    await asyncio.wait_for(running, SOON)
    assert harness.hub.size == 0


async def test_a_sealed_socket_ends_its_replay_and_never_joins() -> None:
    harness = Resumption(recent_bytes=1 << 20)
    harness.accept(*(record(at) for at in range(1, 301)))
    one = connection("bob", "laptop")
    transport = attach(one)
    one.sealed = True
    await asyncio.wait_for(harness.resumer.run(one, Plan(0, True)), SOON)
    assert harness.hub.size == 0
    assert transport.wire == b""


@pytest.mark.parametrize("where", ["tail", "store"])
async def test_long_messages_come_in_pages_of_few_bytes_and_none_is_left_out(where: str) -> None:
    harness = Resumption(recent_bytes=0 if where == "store" else 1 << 30)
    sent = [record(n, "x" * 50_000) for n in range(1, 41)]
    harness.accept(*sent)
    harness.tail.advance(sent[-1].id)
    plan, transport = await harness.resume(harness.cursor(0))
    assert plan.recovered
    assert shown(transport) == [*[one.id for one in sent], ("caught_up", f"e.{format_id(40)}")]
    if where == "store":
        assert 250_000 < harness.store.largest < 350_000
        assert harness.store.calls.count("page") > 5


async def test_what_was_missed_is_counted_whatever_its_bytes() -> None:
    harness = Resumption(recent_bytes=1 << 30, max_messages=20)
    harness.accept(*[record(n, "x" * 200_000) for n in range(1, 22)])
    assert (await harness.resumer.plan("bob", harness.cursor(1))).recovered
    assert not (await harness.resumer.plan("bob", harness.cursor(0))).recovered


@pytest.mark.parametrize("where", ["store", "tail"])
async def test_others_have_a_turn_between_two_pages(where: str) -> None:
    harness = Resumption(recent_bytes=1 << 30 if where == "tail" else 0, max_messages=10_000)
    harness.accept(*(record(at) for at in range(1, 1001)))
    harness.tail.advance(harness.tail.head)
    one = connection("bob", "laptop")
    transport = attach(one)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(transport.writes))
        if not one.live:
            loop.call_soon(look)

    loop = asyncio.get_running_loop()
    loop.call_soon(look)
    await asyncio.wait_for(harness.resumer.run(one, Plan(0, True)), SOON)
    assert one.live
    assert len(set(seen)) >= 10, "a turn of the loop between any two pages"
