"""How a persister ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from testkit.memory_store import MemoryStore
from testkit.records import record, records
from testkit.waiting import until
from tests.unit.support.persisting import Counted, Make, WatchedLog


async def test_a_drain_of_more_than_one_batch(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(batch_ms=10_000_000, batch=10_000)
    persister.start()
    log.tail.extend([record(n, "x" * 1_500_000) for n in range(1, 8)])
    await persister.stop(drain=True, seconds=20)
    assert store.batches == [2, 2, 2, 1]
    assert list(store.records) == [record(n, "").id for n in range(1, 8)]
    assert log.tail.watermark == log.tail.head


async def test_a_drain_stores_the_rest(make: Make, log: WatchedLog, store: MemoryStore) -> None:
    persister = make(batch_ms=10_000_000)
    persister.start()
    log.tail.extend(records(3))
    await persister.stop(drain=True)
    assert len(store.records) == 3
    assert log.tail.watermark == log.tail.head


async def test_without_a_drain_nothing_more_is_begun(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(batch_ms=10_000_000)
    persister.start()
    log.tail.extend(records(3))
    await persister.stop(drain=False)
    assert store.batches == []


async def test_a_drain_tries_once_where_the_store_is_away(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    store.away = True
    persister = make(attempts=50, first_wait=10_000, first_pause=10_000, events=events)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: events.total("retried"))
    await persister.stop(drain=True, seconds=10)
    assert events.total("round_failed") >= 1
    assert log.advances == []


async def test_a_store_that_hangs_does_not_hold_up_the_end(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.gate = asyncio.Event()
    persister = make()
    persister.start()
    log.tail.extend(records(3))
    await asyncio.sleep(0.02)
    with capture_logs() as lines:
        await persister.stop(drain=True, seconds=0.05)
    assert [line["event"] for line in lines] == ["persister_cut_off"]
    assert log.advances == []


async def test_stopping_one_that_never_started_is_harmless(make: Make) -> None:
    await make().stop(drain=True)


async def test_it_starts_once(make: Make) -> None:
    persister = make()
    persister.start()
    with pytest.raises(RuntimeError, match="starts once"):
        persister.start()


async def test_one_that_halted_at_an_unknown_kind_goes_on_looking_at_its_store(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make()
    persister.start()
    log.tail.extend(records(2))
    await until(lambda: len(store.records) == 2)
    with capture_logs() as lines:
        log.tail.extend([msgspec.structs.replace(record(9, "?"), kind="reaction")])
        await until(lambda: persister.health.status == "stopped")
        persister.store_lost()
        assert not log.tail.confirmed
        persister.store_back()
        await until(lambda: log.tail.confirmed)
    assert [line["event"] for line in lines] == ["unknown_kind"]
    assert persister.health.status == "stopped"
    assert len(store.records) == 2
    await asyncio.wait_for(persister.stop(drain=True), 1)
