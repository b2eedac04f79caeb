"""What the log accepted is stored, in order, for as long as it takes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import ConfigurationError, StoreUnavailable, VersionTooNew
from chatsvc.core.ids import STEP
from chatsvc.core.record import Record, pack, unpack
from chatsvc.log.reconcile import Mark, StoreState, fingerprint
from chatsvc.log.tail import Tail
from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.persister.persister import Persister
from chatsvc.storage.ports.dead_letters import DeadLetter
from tests.support.fake_log import FakeLog
from tests.support.memory_store import MemoryStore
from tests.support.records import START, other_kind, record, records
from tests.support.waiting import until

Make = Callable[..., Persister]


class Counted(PersisterEvents):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def stored(self, count: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append(("stored", count))

    def retried(self) -> None:
        self.seen.append(("retried", 1))

    def round_failed(self) -> None:
        self.seen.append(("round_failed", 1))

    def dead_lettered(self, count: int) -> None:
        self.seen.append(("dead_lettered", count))

    def total(self, name: str) -> int:
        return sum(count for event, count in self.seen if event == name)


class WatchedLog(FakeLog):
    """Checks at every advance that nothing is passed that is neither stored nor put aside."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store
        self.advances: list[int] = []
        self.reads: list[int] = []
        self.meetings = 0
        self.begin_at: int | None = None

    @property
    def store_from(self) -> int:
        return self.tail.stored if self.begin_at is None else self.begin_at

    async def attach_store(self, store: StoreState) -> None:
        self.meetings += 1
        await super().attach_store(store)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        self.reads.append(after)
        return await super().read(after, up_to, limit, max_bytes)

    def advance_watermark(self, watermark: int) -> None:
        kept = self.store.records.keys() | self.store.letters.held.keys()
        for one in self.tail.batch(self.tail.watermark, 100_000, 1 << 30):
            assert one.id > watermark or one.id in kept
        self.advances.append(watermark)
        super().advance_watermark(watermark)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log(store: MemoryStore) -> WatchedLog:
    return WatchedLog(store)


@pytest.fixture
async def make(log: WatchedLog, store: MemoryStore) -> AsyncIterator[Make]:
    made: list[Persister] = []

    def build(**options: Any) -> Persister:
        quick = {"batch_ms": 1, "first_wait": 0.001, "first_pause": 0.005, "probe_seconds": 0.005}
        persister = Persister(log, store, **(quick | options))
        made.append(persister)
        return persister

    yield build
    for persister in made:
        await persister.stop(drain=False)


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
    assert log.met == StoreState("memory", None, 0), "before the first write"


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


async def test_one_open_is_enough_until_something_fails(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make(batch=1, attempts=1).start()
    for number in range(1, 6):
        log.tail.extend(records(1, first=number))
        await until(lambda: log.tail.watermark == log.tail.head)
    assert (store.batches, store.opened) == ([1] * 5, 1)
    store.failures = 1
    log.tail.extend(records(1, first=6))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.opened == 2, "a store that failed may be another one now"


async def test_one_that_is_idle_wakes_for_a_single_record(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(batch=500)
    persister.start()
    for number in range(1, 5):
        await until(lambda: persister._pauses.idle)
        log.tail.extend(records(1, first=number))
        await until(lambda: log.tail.watermark == log.tail.head)
    assert store.batches == [1] * 4


async def test_pauses_between_rounds_at_their_default_values(
    log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "chatsvc.storage.persister.persister.random.uniform", lambda low, high: high
    )
    persister = Persister(log, store, attempts=1)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 8:
            store.away = False

    monkeypatch.setattr(persister._pauses, "rest", rest)
    store.away = True
    log.tail.extend(records(1))
    await persister._work()
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
    assert store.batches == [1]
    store.failures = 1
    log.tail.extend(records(1, first=2))
    await persister._work()
    assert rests[8:] == [1], "after a success it begins anew"


async def test_waits_between_tries_and_probes_at_their_default_values(
    log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    persister = Persister(log, store)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            store.away = False

    monkeypatch.setattr(persister._pauses, "pause", pause)
    monkeypatch.setattr(persister._retrying, "sleep", pause)
    store.away = True
    log.tail.extend(records(1))
    assert not await persister._round()
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8]), "five tries"
    await persister._pauses.rest(30.0)
    assert pauses[4:] == [2.0], "a store that is gone is asked every two seconds"


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


# --- the end


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


# --- all of it


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


# --- the store's own watermark


async def test_the_store_is_told_after_each_batch(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    last = records(3)[-1]
    assert store.mark == Mark(last.id, 1, "fake", content=fingerprint(last.body))


async def test_a_mark_that_stays_where_it_was_names_what_it_named(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """Stored again, below it: what the store has there is what another log put there."""
    store.mark = Mark(START + 999 * STEP, 1, "other", content="theirs")
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.mark == Mark(START + 999 * STEP, 1, "fake", content="theirs")


async def test_a_mark_does_not_name_what_the_store_has_another_message_for(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    theirs = record(2, "theirs")
    store.records = {theirs.id: theirs}
    log.records = records(2)
    log.tail.extend(log.records)
    marks: list[Mark] = []
    real = store.set_watermark

    async def set_watermark(expected: Mark | None, new: Mark) -> bool:
        marks.append(new)
        return await real(expected, new)

    store.set_watermark = set_watermark  # type: ignore[method-assign]
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    placed = log.tail.head
    assert [(one.position, bool(one.content)) for one in marks] == [
        (theirs.id, False),
        (placed, True),
    ]


# --- ids of dead letters


async def test_what_has_the_id_of_a_dead_letter_of_another_message_is_placed_anew(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """Also where the store refuses it: the letter is not replaced."""
    theirs = record(2, "theirs")
    letter = DeadLetter(theirs.id, "code", "reason", 1, pack(theirs))
    damaged = DeadLetter(record(3).id, "log_damaged", "reason", 1, b"no record")
    store.letters.held = {letter.id: letter, damaged.id: damaged}
    store.refuse = lambda one: b"message 2" in one.body
    log.records = records(4)
    log.tail.extend(log.records)
    log.tail.base = theirs.id + 10 * STEP
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    placed = log.tail.head
    assert placed > records(4)[-1].id
    assert sorted(store.records) == [one.id for one in records(4) if one.id != theirs.id]
    assert store.letters.held[theirs.id] == letter
    assert unpack(placed, store.letters.held[placed].data).digest == record(2).digest


@pytest.mark.parametrize("base", [True, False])
async def test_what_is_refused_and_has_the_id_of_another_message_is_placed_anew(
    make: Make, log: WatchedLog, store: MemoryStore, base: bool
) -> None:
    """It becomes a dead letter there. The store is looked into only where that may be."""
    theirs = record(2, "theirs")
    store.records = {theirs.id: theirs}
    store.refuse = lambda one: b'"message ' in one.body
    log.records = records(2)
    log.tail.extend(log.records)
    log.tail.base = theirs.id if base else 0
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    placed = log.tail.head if base else theirs.id
    assert list(store.letters.held) == [record(1).id, placed]
    assert store.reads == (3 if base else 1), "the newest when they met, and the two"


async def test_its_own_dead_letters_keep_their_ids(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    own = record(2)
    store.letters.held = {own.id: DeadLetter(own.id, "code", "reason", 1, pack(own))}
    log.tail.extend(records(4))
    log.tail.base = own.id
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert sorted(store.records) == [one.id for one in records(4)]


async def test_letters_are_looked_at_only_where_another_past_may_be(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.letters, "list", None)
    log.tail.base = record(0).id
    make().start()
    log.tail.extend(records(4))
    await until(lambda: log.tail.watermark == log.tail.head)


async def test_a_mark_that_differs_by_the_window_alone_is_not_set_again(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored again costs no write of the mark; what is new takes the window along."""
    last = records(3)[-1]
    store.mark = Mark(last.id, 1, "fake", content=fingerprint(last.body), window_start=5)
    monkeypatch.setattr(WatchedLog, "window_start", 7)
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.mark.window_start == 5
    log.tail.extend(records(1, first=4))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.mark.window_start == 7


async def test_an_answer_that_was_lost_is_no_other_writer(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    events = Counted()
    store.answers_lost = 2
    make(attempts=5, events=events).start()
    log.tail.extend(records(2))
    await until(lambda: store.answers_lost == 1)
    log.tail.extend(records(2, first=3))  # the next attempt has more to store
    await until(lambda: log.tail.watermark == log.tail.head)
    assert events.total("round_failed") == 0
    assert log.meetings == 1
    last = records(4)[-1]
    assert store.mark == Mark(last.id, 1, "fake", content=fingerprint(last.body))


@pytest.mark.parametrize("put_back", [None, Mark(START, 1, "fake"), Mark(START + 999, 1, "other")])
async def test_a_watermark_that_is_not_its_own_makes_the_two_meet_again(
    make: Make, log: WatchedLog, store: MemoryStore, put_back: Mark | None
) -> None:
    persister = make(attempts=1)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    store.mark = put_back
    with capture_logs() as lines:
        log.tail.extend(records(2, first=4))
        await until(lambda: log.tail.watermark == log.tail.head)
    failed = [line["error"] for line in lines if line["event"] == "round_failed"]
    assert failed == ["another service writes to the store, or it was put back"]
    assert log.meetings == 2
    assert log.met is not None
    assert log.met.mark == put_back
    await until(lambda: persister.health == ("ok", None, 0))


async def test_after_a_failed_round_it_looks_whether_the_store_is_the_same(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make(attempts=1).start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    store.failures = 1
    store.name = "another"
    log.tail.extend(records(2, first=4))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert log.met is not None
    assert log.met.identity == "another"


@pytest.mark.parametrize("busy", [False, True])
async def test_it_looks_now_and_then_without_a_cause(
    make: Make, log: WatchedLog, store: MemoryStore, busy: bool
) -> None:
    make(look_seconds=0.01).start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    store.name = "another"
    if busy:
        await asyncio.sleep(0.02)
        log.tail.extend(records(1, first=4))
    await until(lambda: log.met is not None and log.met.identity == "another")


async def test_a_store_that_comes_while_there_is_nothing_to_store_is_met(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.away = True
    persister = make()
    persister.start()
    await asyncio.sleep(0.02)
    assert log.met is None
    assert persister.health == ("ok", None, 0)
    store.away = False
    await until(lambda: log.met is not None)


async def test_an_idle_persister_does_not_look_before_it_is_time(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make().start()
    await until(lambda: log.met is not None)
    opened = store.opened
    await asyncio.sleep(0.05)
    assert (store.opened, log.meetings) == (opened, 1)


async def test_a_store_that_was_lost_is_not_relied_on_until_it_was_looked_at(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(probe_seconds=3600.0)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    stored = log.tail.relied_on
    assert stored == log.tail.head
    persister.store_lost()
    assert log.tail.relied_on == 0
    store.mark = Mark(START, 1, "fake")  # an older copy
    persister.store_back()
    await until(lambda: log.tail.confirmed)
    assert log.met is not None
    assert log.met.mark == store.mark, "it was met before it was relied on"


async def test_a_short_outage_of_the_same_store_costs_a_look_and_no_meeting(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(probe_seconds=3600.0)
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    for _ in range(3):
        persister.store_lost()
        persister.store_back()
        await until(lambda: log.tail.confirmed)
    assert log.meetings == 1


async def test_a_store_that_is_lost_while_it_is_looked_at_is_looked_at_again(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    persister = make()
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    seen: list[bool] = []

    async def identity() -> str:
        if not seen:
            persister.store_lost()
        seen.append(log.tail.confirmed)
        return store.name

    monkeypatch.setattr(store, "identity", identity)
    persister.store_lost()
    persister.store_back()
    await until(lambda: log.tail.confirmed)
    assert seen == [False, False]


async def test_a_look_that_finds_the_store_gone_relies_on_it_no_more(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make(look_seconds=0.01).start()
    await until(lambda: log.met is not None)
    store.away = True
    await until(lambda: not log.tail.confirmed)
    store.away = False
    await until(lambda: log.tail.confirmed)


async def test_a_return_ends_the_rest_after_a_failed_round(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make(attempts=1, first_pause=30.0)
    persister.start()
    store.failures = 1
    log.tail.extend(records(3))
    await until(lambda: persister.health.status == "degraded")
    persister.store_lost()
    persister.store_back()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert log.tail.confirmed


# --- what a store lacks


async def test_what_a_store_lacks_is_read_from_the_file_and_is_no_backlog(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    everything = records(2500)
    log.records = everything[:2400]
    log.tail = Tail(
        recent_bytes=0, watermark=everything[2399].id, floor=everything[2399].id, stored=0
    )
    log.tail.extend(everything[2400:])
    persister = make()
    store.gate = asyncio.Event()
    persister.start()
    await until(lambda: log.reads == [0])
    assert persister.health == (
        "degraded",
        "the store lacks what one before it had, and is being filled from the log",
        100,
    )
    store.gate.set()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert list(store.records) == [one.id for one in everything]
    assert store.batches == [1000, 1000, 400, 100]
    await until(lambda: persister.health == ("ok", None, 0))


async def test_what_is_stored_again_for_good_measure_is_put_aside_once(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend(records(4))
    log.tail.advance(records(3)[-1].id)
    log.begin_at = START
    store.refuse = lambda one: one.id in (records(2)[-1].id, records(4)[-1].id)
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert list(store.letters.held) == [records(4)[-1].id]
    assert store.batches == [4]


async def test_a_message_whose_id_another_has_is_no_dead_letter(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    taken = record(2, "what was acknowledged before the log was put back")
    store.records[taken.id] = taken
    log.tail.extend(records(3))
    log.records = records(3)
    make().start()
    await until(lambda: log.tail.unsaved_count == 0)
    assert store.letters.held == {}
    assert store.records[taken.id] == taken
    contents = [json.loads(one.body)["content"] for one in store.records.values()]
    assert sorted(contents) == sorted(
        ["message 1", json.loads(taken.body)["content"], "message 3", "message 2"]
    )


async def test_where_nothing_is_left_to_store_the_position_goes_on(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """The last record was taken out of the log: nothing has its id, and all is stored."""
    log.tail = Tail(recent_bytes=0, watermark=START, floor=START, stored=0)
    persister = make()
    persister.start()
    await until(lambda: not log.tail.refilling)
    assert store.batches == []
    await until(lambda: persister.health == ("ok", None, 0))
