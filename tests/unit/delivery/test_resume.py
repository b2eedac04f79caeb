"""Resume: from the store, from the tail, then live, or an announced gap."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.delivery.connection import HIGH_WATER
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan, Resumer
from chatsvc.log.tail import Tail
from tests.support.drafts import record
from tests.support.fake_log import Page, entry_of
from tests.support.sockets import FakeTransport, attach, connection, texts

SOON = 20


class Store:
    """History over everything up to the tail's floor; ``away_after`` pages it is gone."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.calls: list[str] = []
        self.away_after: int | None = None
        self.gate: asyncio.Event | None = None
        self.largest = 0

    async def user_page(self, user: str, bounds: Bounds) -> Page:
        await self._answer("page")
        inside = self._of(user, bounds)[: bounds.limit]
        page = take(inside, lambda one: len(one.body), bounds.max_bytes)
        self.largest = max(self.largest, sum(len(one.body) for one in page))
        return Page([entry_of(one) for one in page], False, True)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        await self._answer("count")
        return min(bounds.limit, len(self._of(user, bounds)))

    async def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.away_after is not None and self.calls.count("page") > self.away_after:
            raise StoreUnavailable("the store does not answer")

    def _of(self, user: str, bounds: Bounds) -> list[Record]:
        assert not bounds.newest
        return [
            one
            for one in self.records
            if user in one.audience and bounds.after < one.id < bounds.before
        ]


class House:
    """A tail, a store, and a resumer between them and the hub."""

    def __init__(self, *, recent_bytes: int = 0, most: int = 1000) -> None:
        self.tail = Tail(recent_bytes=recent_bytes)
        self.store = Store()
        self.hub = Hub()
        self.resumer = Resumer(
            epoch="e", tail=self.tail, hub=self.hub, backfill=self.store, most=most
        )
        self.tail.listen(Fanout(self.hub, self.resumer.take_over).accept)

    def live(self, user: str = "bob", room: int | None = None, **options: Any) -> FakeTransport:
        """A connection that is served what comes from now on."""
        one = connection(user, "laptop", **options)
        transport = attach(one, room)
        self.hub.add(one)
        return transport

    def accept(self, *records: Record) -> None:
        self.store.records += records
        self.tail.extend(records)

    def cursor(self, position: int) -> str:
        return f"e.{format_id(position)}"

    async def resume(
        self, since: str, *, user: str = "bob", room: int | None = None, **options: Any
    ) -> tuple[Plan, FakeTransport]:
        one = connection(user, "laptop", **options)
        transport = attach(one, room)
        plan = await self.resumer.plan(user, since)
        await asyncio.wait_for(self.resumer.run(one, plan), SOON)
        return plan, transport

    async def full(self, at: int = 1) -> FakeTransport:
        """One that has not taken what it was sent: message ``at``, of 90 KB."""
        transport = self.live(room=0)
        self.accept(record(at, "x" * 90_000))
        await turns(5)
        assert transport.connection.slow_since
        return transport


def shown(transport: FakeTransport) -> list[Any]:
    """Ids of messages; other frames as (type, what they name)."""
    found: list[Any] = []
    for frame in texts(transport.wire):
        if frame["type"] == "message":
            found.append(int(frame["id"], 16))
        elif frame["type"] == "gap":
            found.append(("gap", int(frame["from"], 16), int(frame["to"], 16)))
        else:
            found.append((frame["type"], frame["cursor"]))
    return found


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("where", ["tail", "store", "both"])
async def test_what_was_missed_in_order_then_caught_up_then_live(where: str) -> None:
    house = House(recent_bytes=0 if where != "tail" else 1 << 20)
    house.accept(*(record(at) for at in range(1, 251)))
    house.tail.advance({"tail": 250, "store": 250, "both": 130}[where])
    plan, transport = await house.resume(house.cursor(10))
    assert plan == Plan(10, True)
    assert shown(transport) == [*range(11, 251), ("caught_up", house.cursor(250))]
    assert transport.connection.live
    house.accept(record(251))
    await turns()
    assert shown(transport)[-1] == 251
    assert ("page" in house.store.calls) == (where != "tail")
    assert house.resumer.replayed == 240


async def test_nothing_missed_is_caught_up_at_once(  # and joins in the same step
) -> None:
    house = House()
    house.accept(record(1))
    _, transport = await house.resume(house.cursor(1))
    assert shown(transport) == [("caught_up", house.cursor(1))]
    assert transport.connection.live


async def test_one_gets_what_is_ones_own_to_get() -> None:
    house = House(recent_bytes=1 << 20)
    house.accept(
        record(1, sender="alice"),
        record(2, sender="bob", to=("alice",), origin="phone"),
        record(3, sender="bob", to=("alice",), origin="laptop"),
        record(4, sender="alice", to=("carol",)),
        record(5, sender="bob", to=("alice",), origin="laptop/7"),
    )
    _, plain = await house.resume(house.cursor(0))
    _, echo = await house.resume(house.cursor(0), echo=True, origin="laptop/7")
    end = ("caught_up", house.cursor(5))
    assert shown(plain) == [1, end]
    assert shown(echo) == [1, 2, 3, end], "all but what this very connection sent"


async def test_what_comes_during_the_replay_is_in_it_once() -> None:
    house = House()
    house.accept(*(record(at) for at in range(1, 151)))
    house.tail.advance(150)
    house.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    transport = attach(one)
    running = asyncio.create_task(house.resumer.run(one, Plan(0, True)))
    await turns()
    house.accept(record(151))
    house.tail.advance(151)
    house.store.gate.set()
    house.accept(record(152))
    await asyncio.wait_for(running, SOON)
    house.accept(record(153))
    await turns()
    ids = [entry for entry in shown(transport) if isinstance(entry, int)]
    assert ids == list(range(1, 154))


async def test_it_joins_in_the_step_in_which_nothing_is_left() -> None:
    house = House(recent_bytes=1 << 20)
    house.accept(*(record(at) for at in range(1, 301)))
    one = connection("bob", "laptop")
    transport = attach(one)
    running = asyncio.create_task(house.resumer.run(one, Plan(0, True)))
    at = 300
    while not running.done():
        at += 1
        house.accept(record(at))
        await asyncio.sleep(0)
        assert at < 5000
    for _ in range(3):
        at += 1
        house.accept(record(at))
    await turns()
    ids = [entry for entry in shown(transport) if isinstance(entry, int)]
    assert ids == list(range(1, at + 1))


async def test_pages_wait_for_a_slow_reader_and_stay_small() -> None:
    house = House(recent_bytes=1 << 30)
    house.accept(*(record(at, "x" * 15_000) for at in range(1, 201)))
    one = connection("bob", "laptop")
    transport = attach(one, room=0)
    running = asyncio.create_task(house.resumer.run(one, Plan(0, True)))
    async with asyncio.timeout(SOON):
        while not running.done():
            await asyncio.sleep(0)
            transport.drain(10_000)
    transport.drain()
    assert not transport.aborted
    assert transport.most_buffered <= 2 * HIGH_WATER + 32_000
    assert len(shown(transport)) == 201


async def test_a_message_longer_than_a_piece_goes_alone() -> None:
    house = House(recent_bytes=1 << 30)
    house.accept(*(record(at, "x" * 200_000) for at in range(1, 21)))
    one = connection("bob", "laptop")
    transport = attach(one, room=0)
    running = asyncio.create_task(house.resumer.run(one, Plan(0, True)))
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
async def test_an_unreadable_cursor_or_one_of_another_life_is_a_gap(since: str) -> None:
    house = House(recent_bytes=1 << 20)
    house.accept(*(record(at) for at in range(1, 11)))
    plan, transport = await house.resume(since)
    assert not plan.recovered
    known = {"another.0000000000000001": 1, "e.00000000000000ff": 10}.get(since, 0)
    assert shown(transport) == [("gap", known, 10), ("caught_up", house.cursor(10))]
    assert house.resumer.gaps == 1


@pytest.mark.parametrize("stored", [False, True])
async def test_more_than_the_most_is_a_gap_and_as_many_is_not(stored: bool) -> None:
    house = House(most=100)
    house.accept(*(record(at) for at in range(1, 201)))
    if stored:
        house.tail.advance(200)
    plan, transport = await house.resume(house.cursor(100))
    assert plan.recovered
    assert len(shown(transport)) == 101
    plan, transport = await house.resume(house.cursor(99))
    assert not plan.recovered
    assert shown(transport) == [("gap", 99, 200), ("caught_up", house.cursor(200))]


async def test_a_store_that_is_away_is_a_gap_then_live() -> None:
    house = House()
    house.accept(*(record(at) for at in range(1, 11)))
    house.tail.advance(5)
    house.store.away_after = -1
    plan, transport = await house.resume(house.cursor(2))
    assert plan == Plan(10, False, 2)
    assert shown(transport) == [("gap", 2, 10), ("caught_up", house.cursor(10))]
    assert transport.connection.live


async def test_what_the_tail_holds_needs_no_store() -> None:
    house = House()
    house.accept(*(record(at) for at in range(1, 11)))
    house.tail.advance(5)
    house.store.away_after = -1
    plan, transport = await house.resume(house.cursor(5))
    assert plan.recovered
    assert shown(transport) == [*range(6, 11), ("caught_up", house.cursor(10))]
    assert house.store.calls == []


async def test_a_store_that_goes_away_midway_leaves_a_gap_that_is_announced() -> None:
    house = House()
    house.accept(*(record(at) for at in range(1, 301)))
    house.tail.advance(250)
    house.store.away_after = 1
    plan, transport = await house.resume(house.cursor(0))
    assert plan.recovered
    assert shown(transport) == [
        *range(1, 101), ("gap", 100, 250), *range(251, 301), ("caught_up", house.cursor(300)),
    ]  # fmt: skip


async def test_whatever_a_store_raises_a_socket_is_not_left_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House()
    house.accept(record(1))
    house.tail.advance(1)

    async def breaks(user: str, bounds: Bounds) -> Page:
        raise ZeroDivisionError

    monkeypatch.setattr(house.store, "user_page", breaks)
    _, transport = await house.resume(house.cursor(0))
    assert transport.aborted
    assert not transport.connection.live


async def test_it_is_in_the_hub_while_it_resumes_and_is_passed_by() -> None:
    house = House()
    house.accept(record(1))
    house.tail.advance(1)
    house.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    transport = attach(one)
    house.resumer.start(one, Plan(0, True))
    assert list(house.hub.of("bob")) == [one], "it counts as connected"
    house.accept(record(2))
    await turns()
    assert shown(transport) == []
    house.store.gate.set()
    await turns()
    assert shown(transport) == [1, 2, ("caught_up", house.cursor(2))]
    house.accept(record(3))
    await turns()
    assert shown(transport)[-1] == 3


async def until_idle(house: House, transport: FakeTransport, rate: int) -> None:
    """The reader reads, until all that waits has been read."""
    async with asyncio.timeout(SOON):
        while transport.connection.waiting is not None or transport.buffer:
            transport.drain(rate)
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("count", "size"), [(16, 96_000), (5, 1_000_000), (256, 15_000), (3000, 400)]
)
async def test_a_burst_in_one_commit_cuts_nobody_who_reads(count: int, size: int) -> None:
    house = House(recent_bytes=1 << 30, most=3001)
    reader = house.live(room=0)
    house.accept(record(1, "before"))
    await turns(5)
    house.accept(*(record(at, "x" * size) for at in range(2, 2 + count)))
    await turns(5)
    house.accept(record(2 + count, "meanwhile"))
    assert reader.connection.waiting is not None
    await until_idle(house, reader, 50_000)
    assert not reader.aborted
    assert shown(reader) == list(range(1, 3 + count)), "in order, once, and nothing else"
    assert reader.most_buffered <= HIGH_WATER + max(HIGH_WATER, size) + 1000
    assert house.resumer.fell_behind == 1
    house.accept(record(3 + count, "live again"))
    await turns(5)
    reader.drain()
    assert shown(reader)[-1] == 3 + count


async def test_bursts_from_many_at_once_cut_nobody_who_reads() -> None:
    house = House(recent_bytes=1 << 30)
    reader = house.live(room=0)
    at = 0
    for _ in range(20):
        for sender in ("s1", "s2", "s3", "bob"):
            house.accept(record(at + 1, "x" * 50_000, sender=sender, to=("bob", "zoe")))
            at += 1
        await turns(4)
        reader.drain(100_000)
    await until_idle(house, reader, 100_000)
    assert not reader.aborted
    assert shown(reader) == [number for number in range(1, at + 1) if number % 4]
    assert reader.most_buffered <= (1 << 20) + 51_000


async def test_one_that_fell_behind_goes_on_from_the_store() -> None:
    house = House()
    reader = await house.full()
    house.accept(*(record(at, "x" * 100_000) for at in range(2, 21)))
    await turns(5)
    house.tail.advance(20)
    assert house.tail.floor == 20
    await until_idle(house, reader, 100_000)
    assert shown(reader) == list(range(1, 21))
    assert "page" in house.store.calls


async def test_one_that_fell_behind_and_echoes_does_not_hear_itself() -> None:
    house = House(recent_bytes=1 << 30)
    reader = house.live(room=0, echo=True, origin="laptop/7")
    house.accept(
        *(
            record(at, "x" * 100_000, sender="bob", to=("alice",), origin=origin)
            for at, origin in enumerate(["phone/1", "laptop/7", "laptop", "laptop/8"] * 4, start=1)
        )
    )
    await until_idle(house, reader, 100_000)
    assert shown(reader) == [at for at in range(1, 17) if at % 4 in (1, 0)]


async def test_one_that_falls_further_behind_than_a_resume_replays_gets_a_gap() -> None:
    house = House(recent_bytes=1 << 30, most=100)
    readers = [await house.full(), await house.full(2)]
    house.accept(*(record(at, "x" * 20_000) for at in range(3, 100)))
    await turns(5)
    await until_idle(house, readers[1], 100_000)
    house.accept(*(record(at) for at in range(100, 151)))
    await until_idle(house, readers[0], 100_000)
    house.accept(record(151))
    await turns(5)
    for reader in readers:
        reader.drain()
    assert shown(readers[0]) == [1, 2, ("gap", 2, 150), 151]
    assert shown(readers[1]) == list(range(2, 152)), "no more than a hundred at any time"
    assert house.resumer.gaps == 1


async def test_one_that_goes_on_falling_behind_gets_a_gap_in_the_end() -> None:
    house = House(recent_bytes=1 << 30, most=500)
    reader = house.live(room=0)
    house.accept(*(record(at, "x" * 20_000) for at in range(1, 100)))
    at = 99
    async with asyncio.timeout(SOON):
        while not house.resumer.gaps:
            house.accept(record(at + 1, "x" * 20_000), record(at + 2, "x" * 20_000))
            at += 2
            reader.drain(20_000)  # half as fast as it comes
            await asyncio.sleep(0)
    await until_idle(house, reader, 1_000_000)
    found = shown(reader)
    (gap,) = [entry for entry in found if not isinstance(entry, int)]
    assert [entry for entry in found if isinstance(entry, int)] == [
        *range(1, gap[1] + 1), *range(gap[2] + 1, at + 1)
    ], "each once and in order, or in the gap"  # fmt: skip


async def test_with_the_store_away_one_that_fell_behind_gets_a_gap() -> None:
    house = House()
    reader = await house.full()
    house.accept(*(record(at, "x" * 100_000) for at in range(2, 21)))
    await turns(5)
    house.tail.advance(10)
    house.store.away_after = -1
    await until_idle(house, reader, 1_000_000)
    assert shown(reader) == [1, ("gap", 1, 10), *range(11, 21)]


async def test_one_that_fell_behind_and_leaves_is_forgotten() -> None:
    house = House(recent_bytes=1 << 30)
    reader = house.live(room=0)
    house.accept(*(record(at, "x" * 100_000) for at in range(1, 21)))
    await turns(5)
    reader.lose()
    house.hub.discard(reader.connection)
    await turns(5)
    assert not house.resumer._tasks
    assert house.hub.size == 0


async def test_one_that_is_cut_while_it_resumes_does_not_come_back_by_itself() -> None:
    house = House()
    house.accept(record(1))
    house.tail.advance(1)
    house.store.gate = asyncio.Event()
    one = connection("bob", "laptop")
    attach(one)
    house.resumer.start(one, Plan(0, True))
    await turns(5)
    one.cut("stalled")
    house.hub.discard(one)
    house.store.gate.set()
    await turns(5)
    assert house.hub.size == 0


async def test_a_socket_that_leaves_ends_its_replay() -> None:
    house = House(recent_bytes=1 << 30)
    house.accept(*(record(at, "x" * 10_000) for at in range(1, 101)))
    one = connection("bob", "laptop")
    transport = attach(one, room=0)
    running = asyncio.create_task(house.resumer.run(one, Plan(0, True)))
    await turns()
    assert not running.done()
    transport.lose()
    await asyncio.wait_for(running, SOON)
    assert house.hub.size == 0


async def test_a_sealed_socket_ends_its_replay_and_never_joins() -> None:
    house = House(recent_bytes=1 << 20)
    house.accept(*(record(at) for at in range(1, 301)))
    one = connection("bob", "laptop")
    transport = attach(one)
    one.sealed = True
    await asyncio.wait_for(house.resumer.run(one, Plan(0, True)), SOON)
    assert house.hub.size == 0
    assert transport.wire == b""


async def test_entries_are_followed_by_their_rev() -> None:
    """A message changed later is replayed where it changed."""
    house = House()
    house.accept(*(record(at) for at in range(1, 6)))
    house.tail.advance(5)

    async def page(user: str, bounds: Bounds) -> Page:
        entries = [msgspec.structs.replace(entry_of(record(1)), rev=4), entry_of(record(5))]
        inside: list[Entry] = [one for one in entries if bounds.after < one.rev < bounds.before]
        return Page(inside[:1], False, True)

    house.store.user_page = page  # type: ignore[method-assign]
    _, transport = await house.resume(house.cursor(3))
    assert shown(transport) == [1, 5, ("caught_up", house.cursor(5))]


@pytest.mark.parametrize("where", ["tail", "store"])
async def test_long_messages_come_in_pages_of_few_bytes_and_none_is_left_out(where: str) -> None:
    house = House(recent_bytes=0 if where == "store" else 1 << 30)
    sent = [record(n, "x" * 50_000) for n in range(1, 41)]
    house.accept(*sent)
    house.tail.advance(sent[-1].id)
    plan, transport = await house.resume(house.cursor(0))
    assert plan.recovered
    assert shown(transport) == [*[one.id for one in sent], ("caught_up", f"e.{format_id(40)}")]
    if where == "store":
        assert 250_000 < house.store.largest < 350_000
        assert house.store.calls.count("page") > 5


async def test_what_was_missed_is_counted_whatever_its_bytes() -> None:
    house = House(recent_bytes=1 << 30, most=20)
    house.accept(*[record(n, "x" * 200_000) for n in range(1, 22)])
    assert (await house.resumer.plan("bob", house.cursor(1))).recovered
    assert not (await house.resumer.plan("bob", house.cursor(0))).recovered


@pytest.mark.parametrize("where", ["store", "tail"])
async def test_others_have_a_turn_between_two_pages(where: str) -> None:
    house = House(recent_bytes=1 << 30 if where == "tail" else 0, most=10_000)
    house.accept(*(record(at) for at in range(1, 1001)))
    house.tail.advance(house.tail.head)
    one = connection("bob", "laptop")
    transport = attach(one)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(transport.writes))
        if not one.live:
            loop.call_soon(look)

    loop = asyncio.get_running_loop()
    loop.call_soon(look)
    await asyncio.wait_for(house.resumer.run(one, Plan(0, True)), SOON)
    assert one.live
    assert len(set(seen)) >= 10, "a turn of the loop between any two pages"
