"""What a round does with a store that fails or is not what it was, and what it says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import format_id, now_ms
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark, fingerprint
from chatsvc.storage.persister.persister import Persister
from testkit.memory_store import MemoryStore
from testkit.records import START, other_kind, record, records
from tests.unit.support.noted_log import NotedLog
from tests.unit.support.persisting import running
from tests.unit.support.virtual_time import in_virtual_time, passed


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log() -> NotedLog:
    return NotedLog()


def events(lines: Sequence[Any], *names: str) -> list[dict[str, Any]]:
    return [dict(line) for line in lines if line["event"] in names]


# --- what it says


@in_virtual_time
async def test_the_lines_of_an_outage_say_what_failed_why_and_what_waits(
    log: NotedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.12345)
    left = 2
    write = store.write

    async def fail(batch: Sequence[Record]) -> Any:
        nonlocal left
        if not left:
            return await write(batch)
        left -= 1
        raise StoreUnavailable("no primary") from ConnectionError("refused by " + "x" * 400)

    monkeypatch.setattr(store, "write", fail)
    log.tail.extend(records(3))
    with capture_logs() as lines:
        async with running(log, store, attempts=2):
            await asyncio.sleep(60)
    cause = ("ConnectionError: refused by " + "x" * 400)[:300]
    span = {
        "count": 3,
        "first_id": format_id(record(1).id),
        "last_id": format_id(record(3).id),
    }
    assert events(lines, "store_retry", "round_failed", "store_recovered") == [
        {
            "event": "store_retry",
            "log_level": "warning",
            "attempt": 1,
            "error": "no primary",
            "cause": cause,
            "wait_seconds": 0.123,
        },
        {
            "event": "round_failed",
            "log_level": "error",
            "round": 1,
            "error": "no primary",
            "cause": cause,
            "backlog": 3,
            **span,
        },
        {"event": "store_recovered", "log_level": "info", "rounds": 1, **span},
    ]


@in_virtual_time
async def test_a_failure_before_a_batch_was_taken_names_none_and_no_cause(
    log: NotedLog, store: MemoryStore
) -> None:
    store.away = True
    log.tail.extend(records(3))
    with capture_logs() as lines:
        async with running(log, store, attempts=1):
            await asyncio.sleep(0.4)
    (line,) = events(lines, "round_failed")
    assert (line["cause"], line["count"], "first_id" in line) == (None, 0, False)


@pytest.mark.parametrize(("drain", "rounds"), [(False, 1), (True, 2)])
@in_virtual_time
async def test_the_end_of_a_pause_is_no_cause_for_another_round_unless_it_drains(
    log: NotedLog, store: MemoryStore, drain: bool, rounds: int
) -> None:
    store.away = True
    persister = Persister(log, store, attempts=1)
    log.tail.extend(records(3))
    with capture_logs() as lines:
        persister.start()
        await asyncio.sleep(0.4)
        await persister.stop(drain=drain)
    assert len(events(lines, "round_failed")) == rounds
    assert passed() == pytest.approx(0.4)


@in_virtual_time
async def test_a_dead_letter_has_the_time_at_which_it_was_put_aside(
    log: NotedLog, store: MemoryStore
) -> None:
    store.refuse = lambda one: True
    before = now_ms()
    async with running(log, store):
        log.tail.extend(records(2))
        await asyncio.sleep(5)
    assert [before <= one.at_ms <= now_ms() for one in store.letters.held.values()] == [True] * 2


# --- where it ends


@pytest.mark.parametrize("backlog", [0, 2])
@in_virtual_time
async def test_a_store_of_a_newer_version_ends_it_and_is_left_alone(
    log: NotedLog, store: MemoryStore, backlog: int
) -> None:
    store.open_error = VersionTooNew("version 7")
    persister = Persister(log, store)
    log.tail.extend(records(backlog))
    with capture_logs() as lines:
        persister.start()
        await asyncio.sleep(1000)
        assert persister.health == ("stopped", "version 7", backlog)
        assert "persister" not in {task.get_name() for task in asyncio.all_tasks()}
        await persister.stop(drain=True)
    assert [(line["event"], line["error"], line["backlog"]) for line in lines] == [
        ("store_too_new", "version 7", backlog)
    ]


@in_virtual_time
async def test_a_kind_that_it_does_not_know_ends_it_and_is_said_once(
    log: NotedLog, store: MemoryStore
) -> None:
    persister = Persister(log, store)
    log.tail.extend([other_kind(1)])
    with capture_logs() as lines:
        persister.start()
        await asyncio.sleep(1000)
        await persister.stop(drain=True)
    assert [line["event"] for line in lines] == ["unknown_kind"]


@in_virtual_time
async def test_a_fault_while_there_is_nothing_to_store_is_named(
    log: NotedLog, store: MemoryStore
) -> None:
    store.open_error = ZeroDivisionError("a fault of the program")
    with capture_logs():
        async with running(log, store) as persister:
            await asyncio.sleep(3)
            assert persister.health == ("degraded", "ZeroDivisionError", 0)


@in_virtual_time
async def test_a_fault_in_a_round_is_named(log: NotedLog, store: MemoryStore) -> None:
    store.write_error = ZeroDivisionError("a fault of the program")
    log.tail.extend(records(1))
    with capture_logs():
        async with running(log, store) as persister:
            await asyncio.sleep(0.4)
            assert persister.health == ("degraded", "ZeroDivisionError", 1)


@in_virtual_time
async def test_without_a_drain_what_waits_for_company_is_left(
    log: NotedLog, store: MemoryStore
) -> None:
    async with running(log, store, batch_ms=10_000):
        log.tail.extend(records(3))
        await asyncio.sleep(1)
    assert (store.batches, passed()) == ([], pytest.approx(1))


# --- a store that was away, or put back


@in_virtual_time
async def test_a_store_that_is_back_is_looked_at_at_once(log: NotedLog, store: MemoryStore) -> None:
    async with running(log, store, batch_ms=10_000) as persister:
        await asyncio.sleep(5)
        persister.store_lost()
        persister.store_back()
        await asyncio.sleep(0.5)
        assert log.tail.confirmed


@in_virtual_time
async def test_a_question_that_ends_in_a_fault_is_no_answer(
    log: NotedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ping() -> None:
        if passed() < 5:
            raise ZeroDivisionError

    monkeypatch.setattr(store, "ping", ping)
    store.failures = 1
    persister = Persister(log, store, attempts=1, first_pause=1000.0)
    log.tail.extend(records(1))
    with capture_logs():
        persister.start()
        await asyncio.sleep(4)
        assert store.batches == []
        await asyncio.sleep(3)
    assert store.batches == [1], "it answers again: the rest of the pause is not waited for"
    await persister.stop(drain=False)


@in_virtual_time
async def test_an_advance_whose_answer_was_lost_is_recognized_after_the_round(
    log: NotedLog, store: MemoryStore
) -> None:
    async with running(log, store, attempts=1):
        log.tail.extend(records(2))
        await asyncio.sleep(1)
        store.answers_lost = 1
        log.tail.extend(records(2, first=3))
        await asyncio.sleep(60)
        assert (log.attachments, log.tail.watermark) == (1, record(4).id)
        assert store.mark == Mark(record(4).id, 1, "fake", None, fingerprint(record(4).body))


@in_virtual_time
async def test_an_advance_whose_answer_was_lost_is_gone_on_from(
    log: NotedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    store.answers_lost = 1
    async with running(log, store, batch_ms=0, first_wait=1.0):
        log.tail.extend(records(2))
        await asyncio.sleep(0.5)
        log.tail.extend(records(2, first=3))  # the next attempt has more to store
        await asyncio.sleep(5)
        assert (log.attachments, store.batches) == (1, [2, 4])
        assert store.mark == Mark(record(4).id, 1, "fake", None, fingerprint(record(4).body))


@in_virtual_time
async def test_the_store_is_told_what_it_lacks_for_good(log: NotedLog, store: MemoryStore) -> None:
    log.tail.hole = (START - 9, START - 5)
    async with running(log, store):
        for number in (1, 2):
            log.tail.extend(records(1, first=number))
            await asyncio.sleep(1)
            newest = record(number)
            lost = (START - 9, START - 5)
            assert store.mark == Mark(newest.id, 1, "fake", lost, fingerprint(newest.body))
