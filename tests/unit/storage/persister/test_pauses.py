"""When a persister waits, and for how long."""

from __future__ import annotations

import pytest

from chatsvc.storage.persister.persister import Persister
from testkit.memory_store import MemoryStore
from testkit.records import records
from testkit.waiting import until
from tests.unit.support.persisting import Make, WatchedLog


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
    monkeypatch.setattr("chatsvc.storage.consumer.consumer.random.uniform", lambda low, high: high)
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
