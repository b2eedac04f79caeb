"""How long the persister waits, at its default values."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark, StoreState
from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.messages import Rejection
from testkit.memory_store import MemoryStore
from testkit.records import records
from tests.unit.support.fake_log import FakeLog
from tests.unit.support.persisting import running
from tests.unit.support.virtual_time import in_virtual_time, passed


class Timed(PersisterEvents):
    """``stored_at``: when each batch was stored; ``took``: how long it is said to have taken."""

    def __init__(self) -> None:
        self.stored_at: list[float] = []
        self.took: list[float] = []
        self.failed_at: list[float] = []

    def stored(self, count: int, seconds: float) -> None:
        self.stored_at.append(passed())
        self.took.append(seconds)

    def round_failed(self) -> None:
        self.failed_at.append(passed())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Clocks are the loop's; of a random time the lower bound is taken, and the bounds noted."""
    noted: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        noted.append((low, high))
        return low

    for module in ("consumer.consumer", "persister.attached_store"):
        clock = SimpleNamespace(monotonic=passed)
        monkeypatch.setattr(f"chatsvc.storage.{module}.time", clock)
    chance = SimpleNamespace(uniform=uniform)
    monkeypatch.setattr("chatsvc.storage.consumer.consumer.random", chance)
    return noted


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_a_batch_waits_fifty_milliseconds_for_company(
    log: FakeLog, store: MemoryStore
) -> None:
    events = Timed()
    async with running(log, store, events=events):
        await asyncio.sleep(1)
        log.tail.extend(records(1))
        await asyncio.sleep(1)
        log.tail.extend(records(1, first=2))
        await asyncio.sleep(1)
        assert events.stored_at == pytest.approx([1.05, 2.05])


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_five_hundred_messages_are_a_full_batch(log: FakeLog, store: MemoryStore) -> None:
    events = Timed()
    async with running(log, store, events=events):
        log.tail.extend(records(499))
        await asyncio.sleep(0.03)
        assert events.stored_at == []
        log.tail.extend(records(1, first=500))
        await asyncio.sleep(1)
        assert events.stored_at == pytest.approx([0.03])
        assert store.batches == [500]


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_a_batch_takes_as_long_as_all_its_attempts(log: FakeLog, store: MemoryStore) -> None:
    store.gate = asyncio.Event()
    events = Timed()
    async with running(log, store, events=events, batch_ms=0):
        await asyncio.sleep(1)
        log.tail.extend(records(1))
        await asyncio.sleep(2.5)
        store.gate.set()
        await asyncio.sleep(1)
        assert events.took == pytest.approx([2.5])


@in_virtual_time
async def test_the_end_takes_five_seconds_where_the_store_hangs(
    log: FakeLog, store: MemoryStore
) -> None:
    store.gate = asyncio.Event()
    persister = Persister(log, store)
    persister.start()
    log.tail.extend(records(3))
    await asyncio.sleep(1)
    with capture_logs() as lines:
        await persister.stop(drain=True)
    assert passed() == pytest.approx(6)
    assert [(line["event"], line["backlog"]) for line in lines] == [("persister_cut_off", 3)]
    assert "persister" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_an_idle_store_is_looked_at_each_minute(log: FakeLog, store: MemoryStore) -> None:
    async with running(log, store):
        looks = [store.opened]
        for second in (1, 3, 61, 63, 121, 123):
            await asyncio.sleep(second - passed())
            looks.append(store.opened)
        assert looks == [0, 0, 1, 1, 2, 2, 3]
        assert "persister" in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_under_load_the_store_is_looked_at_each_minute(
    log: FakeLog, store: MemoryStore
) -> None:
    async with running(log, store, batch_ms=0):
        opened: list[int] = []
        for number in range(1, 14):
            log.tail.extend(records(1, first=number))
            await asyncio.sleep(10)
            opened.append(store.opened)
        assert opened == [1] * 6 + [2] * 6 + [3]


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_a_store_that_is_away_is_asked_every_two_seconds(
    log: FakeLog, store: MemoryStore
) -> None:
    store.away = True
    async with running(log, store):
        await asyncio.sleep(9)
        store.away = False
        await asyncio.sleep(0.5)
        assert log.attached_store is None
        await asyncio.sleep(0.6)
        assert log.attached_store is not None


@in_virtual_time
async def test_waits_within_a_round_grow_to_five_seconds(
    log: FakeLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    store.away = True
    log.tail.extend(records(1))
    started = passed()
    assert not await Persister(log, store, attempts=9)._round()
    assert passed() - started == pytest.approx(0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5)


@pytest.mark.parametrize("error", [StoreUnavailable("not now"), ZeroDivisionError("a fault")])
@in_virtual_time
async def test_the_pause_after_a_failed_round_is_at_least_half_of_the_most(
    log: FakeLog,
    store: MemoryStore,
    chosen: list[tuple[float, float]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    write = store.write
    errors = [error] * 3

    async def fail(batch: Sequence[Record]) -> list[Rejection]:
        if errors:
            raise errors.pop()
        return await write(batch)

    monkeypatch.setattr(store, "write", fail)
    events = Timed()
    persister = Persister(log, store, attempts=1, batch_ms=0, events=events)
    with capture_logs():
        persister.start()
        log.tail.extend(records(1))
        await asyncio.sleep(60)
    assert events.failed_at == pytest.approx([0, 0.5, 1.5])
    assert events.stored_at == pytest.approx([3.5])
    assert chosen == [(0.5, 1.0)] * 3
    await persister.stop(drain=False)


@in_virtual_time
async def test_a_fault_of_the_log_is_followed_by_the_same_pauses(
    log: FakeLog,
    store: MemoryStore,
    chosen: list[tuple[float, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advance = log.advance_watermark
    faults: list[Exception] = [OSError("a fault of the log")] * 3

    def fail(watermark: int) -> None:
        if faults:
            raise faults.pop()
        advance(watermark)

    monkeypatch.setattr(log, "advance_watermark", fail)
    events = Timed()
    persister = Persister(log, store, batch_ms=0, events=events)
    with capture_logs():
        persister.start()
        log.tail.extend(records(1))
        await asyncio.sleep(60)
    assert events.failed_at == pytest.approx([0, 0.5, 1.5])
    assert events.stored_at == pytest.approx([3.5])
    assert chosen == [(0.5, 1.0)] * 3
    await persister.stop(drain=False)


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_a_store_that_the_log_has_just_met_is_not_looked_at_first(
    log: FakeLog, store: MemoryStore
) -> None:
    store.mark = Mark(0, 1, "fake")
    await log.attach_store(StoreState(store.name, store.mark, 0))
    events = Timed()
    async with running(log, store, batch_ms=0, events=events):
        log.tail.extend(records(1))
        await asyncio.sleep(1)
        assert (store.opened, len(events.stored_at), events.failed_at) == (0, 1, [])


@pytest.mark.usefixtures("chosen")
@in_virtual_time
async def test_a_pause_ends_when_it_is_time_to_stop(log: FakeLog, store: MemoryStore) -> None:
    store.away = True
    async with running(log, store, attempts=1, first_pause=1000.0) as persister:
        log.tail.extend(records(1))
        await asyncio.sleep(1)
        assert persister.health.status == "degraded"
    assert passed() == pytest.approx(1)
