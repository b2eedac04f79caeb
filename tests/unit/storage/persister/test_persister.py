"""What the log accepted is stored, in order, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import ConfigurationError, StoreUnavailable, VersionTooNew
from chatsvc.core.record import Record, unpack
from chatsvc.log.reconcile import StoreState
from testkit.memory_store import MemoryStore
from testkit.records import START, other_kind, record, records
from testkit.waiting import until
from tests.unit.support.persisting import Counted, Make, WatchedLog


async def test_what_is_accepted_is_stored_in_order(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make()
    persister.start()
    for first in range(1, 40, 4):
        log.tail.extend(records(4, first=first))
        await asyncio.sleep(0)
    await until(lambda: log.tail.watermark == log.tail.head)
    assert list(store.records) == [one.id for one in records(40)]
    assert log.advances == sorted(log.advances)
    assert persister.health == ("ok", None, 0)


async def test_what_was_unsaved_at_the_start_is_stored(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend(records(10))
    log.tail.advance(records(4)[-1].id)  # these are stored, says the log
    log.store.records = {one.id: one for one in records(4)}
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert sum(store.batches) == 6


async def test_a_full_batch_does_not_wait_for_its_time(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make(batch=3, batch_ms=10_000_000).start()
    for one in records(2):
        log.tail.extend([one])
        await asyncio.sleep(0.01)
    assert store.batches == []
    log.tail.extend(records(1, first=3))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.batches == [3]


async def test_a_batch_waits_for_company_only_so_long(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make(batch=1000, batch_ms=5).start()
    log.tail.extend(records(2))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.batches == [2]


async def test_behind_batches_are_larger_but_bounded(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend(records(7000))
    make(batch=500).start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.batches == [5000, 2000]


async def test_behind_a_batch_has_at_most_four_mebibytes(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend([record(n, "x" * 15_000) for n in range(1, 601)])
    make(batch=10).start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert sum(store.batches) == 600
    assert max(store.batches) * 15_000 < 4 * 1024 * 1024 < (max(store.batches) + 10) * 15_000


async def test_a_failure_that_passes_is_tried_again(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    store.failures = 3
    make(attempts=5, events=events).start()
    log.tail.extend(records(2))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert events.seen == [("retried", 1)] * 3 + [("stored", 2)]


async def test_after_a_failed_round_it_is_degraded_and_goes_on(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    persister = make(attempts=2, events=events)
    store.away = True
    with capture_logs() as lines:
        persister.start()
        log.tail.extend(records(3))
        await until(lambda: events.total("round_failed") >= 3)
        assert persister.health == ("degraded", "the store is away", 3)
        assert log.tail.watermark == 0
        log.tail.extend(records(2, first=4))
        store.away = False
        await until(lambda: log.tail.watermark == log.tail.head)
        await until(lambda: persister.health == ("ok", None, 0))
    assert events.total("retried") == events.total("round_failed")
    told = [line["event"] for line in lines]
    assert {"store_retry", "round_failed"} <= set(told)
    assert told.count("store_recovered") == 1


async def test_a_store_that_comes_back_is_noticed_within_a_pause(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.away = True
    persister = make(attempts=1, first_pause=10_000, probe_seconds=0.005)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: persister.health.status == "degraded")
    store.away = False
    await until(lambda: log.tail.watermark == log.tail.head)


async def test_a_store_that_answers_and_takes_nothing_is_left_alone(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    store.failures = 1_000_000
    persister = make(attempts=1, first_pause=10_000, probe_seconds=0.001, events=events)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: events.total("round_failed"))
    await asyncio.sleep(0.05)
    assert events.total("round_failed") == 1
    await persister.stop(drain=False)


async def test_a_store_that_was_away_at_the_start_is_opened_later(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.open_error = StoreUnavailable("nobody there")
    persister = make(attempts=2)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: persister.health.status == "degraded")
    store.open_error = None
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.opened == 1
    assert log.attached_store == StoreState("memory", None, 0), "before the first write"


async def test_a_store_of_a_newer_version_stops_it(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.open_error = VersionTooNew("version 7")
    persister = make()
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: persister.health.status == "stopped")
    assert persister.health == ("stopped", "version 7", 3)
    assert store.batches == []
    await persister.stop(drain=True)
    assert log.advances == []


async def test_what_the_store_will_never_take_is_put_aside_and_passed(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    poison = record(3, "a secret text")
    store.refuse = lambda one: one.id == poison.id
    store.letters.away = 2
    log.tail.extend([*records(2), poison, *records(2, first=4)])
    with capture_logs() as lines:
        make(events=events).start()
        await until(lambda: log.tail.watermark == log.tail.head)
    (letter,) = await store.letters.list()
    assert (letter.code, letter.reason) == ("refused", "a test says so")
    assert unpack(letter.id, letter.data) == poison
    assert len(store.records) == 4
    assert events.total("dead_lettered") == 1
    assert events.total("stored") == 4
    (line,) = [line for line in lines if line["event"] == "dead_letter"]
    assert line["message_id"] == f"{poison.id:016x}"
    assert "secret" not in str(lines)


async def test_a_kind_that_it_does_not_know_is_never_passed(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend([*records(2), other_kind(3), *records(2, first=4)])
    persister = make()
    with capture_logs() as lines:
        persister.start()
        await until(lambda: persister.health.status == "stopped")
    assert log.tail.watermark == records(2)[-1].id
    assert len(store.records) == 2
    assert persister.health.error is not None
    assert "reaction" in persister.health.error
    assert persister.health.backlog == 3
    assert [line["log_level"] for line in lines if line["event"] == "unknown_kind"] == ["critical"]
    await persister.stop(drain=True)
    assert len(store.records) == 2


async def test_an_error_that_nobody_foresaw_does_not_end_it(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.write_error = ZeroDivisionError("a fault of the program")
    persister = make()
    with capture_logs():  # or each stack trace is made beautiful
        persister.start()
        log.tail.extend(records(2))
        await until(lambda: persister.health.status == "degraded")
        assert persister.health.error == "ZeroDivisionError"
        store.write_error = None
        await until(lambda: log.tail.watermark == log.tail.head)


async def test_a_log_that_fails_is_a_failed_round_and_what_it_had_is_stored_again(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = log.advance_watermark
    faults = [OSError("a fault of the log"), ValueError("another")]

    def fail(watermark: int) -> None:
        if faults:
            raise faults.pop()
        advance(watermark)

    monkeypatch.setattr(log, "advance_watermark", fail)
    persister = make()
    with capture_logs() as lines:
        persister.start()
        log.tail.extend(records(2))
        await until(lambda: log.tail.watermark == log.tail.head)
    assert store.batches == [2, 2, 2]
    errors = [line["error"] for line in lines if line["event"] == "round_failed"]
    assert errors == ["ValueError", "OSError"]
    await until(lambda: persister.health == ("ok", None, 0))


@pytest.mark.parametrize(
    "where", ["open", "identity", "watermark", "head", "set_watermark", "letters", "ping", "events"]
)
async def test_whatever_a_store_raises_wherever_is_tried_again(
    make: Make,
    log: WatchedLog,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    left = 3

    def fail() -> None:
        nonlocal left
        if left:
            left -= 1
            raise ZeroDivisionError(where)

    target, name = {
        "letters": (store.letters, "put"),
        "events": (store, "close"),
    }.get(where, (store, where))
    real = getattr(target, name)

    async def failing(*args: Any) -> Any:
        fail()
        return await real(*args)

    monkeypatch.setattr(target, name, failing)
    events = Counted()
    if where == "events":
        monkeypatch.setattr(events, "stored", lambda *_: fail())
    if where == "ping":
        store.failures = 2
    store.refuse = lambda one: where == "letters" and one.id == records(1)[0].id
    persister = make(attempts=1, events=events)
    with capture_logs():  # or each stack trace is made beautiful
        persister.start()
        first = 1
        while first < 9 or (left and where != "ping"):
            log.tail.extend(records(2, first=first))
            first += 2
            await until(lambda: log.tail.watermark == log.tail.head)
    assert left == 0 or (where == "ping" and left < 3)
    log.tail.extend(records(1, first=first))
    await until(lambda: log.tail.watermark == log.tail.head)
    await until(lambda: persister.health.status == "ok")


async def test_while_it_fails_health_says_so(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.open_error = ConfigurationError("MONGO_COLLECTION: is a view")
    persister = make(attempts=1)
    with capture_logs():  # or each stack trace is made beautiful
        persister.start()
        log.tail.extend(records(1))
        await until(lambda: persister.health.status == "degraded")
        assert persister.health.error == "MONGO_COLLECTION: is a view"
        store.open_error = None
        await until(lambda: log.tail.watermark == log.tail.head)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_fails_everything_accepted_is_stored_or_put_aside(
    make: Make, log: WatchedLog, store: MemoryStore, seed: int
) -> None:
    dice = random.Random(seed)
    store.refuse = lambda one: one.id % 7 == 0
    persister = make(attempts=2, batch=dice.choice([1, 3, 10, 500]))
    persister.start()
    accepted: list[Record] = []
    for _ in range(40):
        fresh = records(dice.randrange(1, 6), first=len(accepted) + 1)
        accepted += fresh
        log.tail.extend(fresh)
        if dice.random() < 0.3:
            store.failures = dice.randrange(4)
        if dice.random() < 0.2:
            store.letters.away = dice.randrange(3)
        await asyncio.sleep(dice.choice([0, 0.001]))
    await until(lambda: log.tail.watermark == log.tail.head)
    kept = sorted([*store.records, *store.letters.held])
    assert kept == [one.id for one in accepted]
    assert all(key % 7 == 0 for key in store.letters.held)
    assert kept[0] > START
