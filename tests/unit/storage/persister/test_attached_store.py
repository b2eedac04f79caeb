"""The store's own watermark, and whether the store is still the one that it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from chatsvc.core.ids import STEP
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark, fingerprint
from chatsvc.storage.ports.messages import Rejection
from testkit.memory_store import MemoryStore
from testkit.records import START, record, records
from testkit.waiting import until
from tests.unit.support.persisting import Counted, Make, WatchedLog


async def test_the_store_is_told_after_each_batch(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    last = records(3)[-1]
    assert store.mark == Mark(last.id, 1, "fake", content=fingerprint(last.body))


@pytest.mark.parametrize("mark", [None, Mark(START, 1, "other", content="theirs")])
async def test_a_store_is_told_without_a_batch_where_nothing_is_left_to_store(
    make: Make, log: WatchedLog, store: MemoryStore, mark: Mark | None
) -> None:
    """An older program filled it, or a log that was lost before it set its last watermark."""
    last = record(3)
    store.records, store.mark = {last.id: last}, mark
    log.tail.base = last.id
    make(look_seconds=0.001).start()
    await until(lambda: store.mark is not None and store.mark.position == last.id)
    assert store.mark == Mark(last.id, 1, "fake")
    assert log.tail.stored < last.id, "what the store has from others is not the log's"


async def test_a_store_of_nothing_is_told_nothing(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    persister = make()
    await persister._look()
    assert store.mark is None


async def test_a_store_that_another_writes_to_meanwhile_is_told_with_the_next_look(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.base = record(3).id
    persister = make()
    real, theirs = store.set_watermark, Mark(record(2).id, 1, "other")

    async def set_watermark(expected: Mark | None, new: Mark) -> bool:
        store.set_watermark = real  # type: ignore[method-assign]
        store.mark = theirs
        return await real(expected, new)

    store.set_watermark = set_watermark  # type: ignore[method-assign]
    with capture_logs() as lines:
        await persister._look()
    assert store.mark == theirs
    assert "persister_error" not in {one["event"] for one in lines}
    await persister._look()
    assert store.mark == Mark(record(3).id, 1, "fake")


async def test_a_mark_that_stays_where_it_was_names_what_it_named(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """Stored again, below it: what the store has there is what another log put there."""
    store.mark = Mark(START + 999 * STEP, 1, "other", content="theirs")
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.mark == Mark(START + 999 * STEP, 1, "fake", content="theirs")


async def test_a_mark_that_is_reached_again_names_what_was_stored_there(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    last = records(3)[-1]
    store.mark = Mark(last.id, 1, "other", content="theirs")
    make().start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert store.mark == Mark(last.id, 1, "fake", content=fingerprint(last.body))


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
    assert log.attachments == 1
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
    assert log.attachments == 2
    assert log.attached_store is not None
    assert log.attached_store.mark == put_back
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
    assert log.attached_store is not None
    assert log.attached_store.identity == "another"


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
    await until(lambda: log.attached_store is not None and log.attached_store.identity == "another")


async def test_a_store_that_comes_while_there_is_nothing_to_store_is_met(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    store.away = True
    persister = make()
    persister.start()
    await asyncio.sleep(0.02)
    assert log.attached_store is None
    assert persister.health == ("ok", None, 0)
    store.away = False
    await until(lambda: log.attached_store is not None)


async def test_an_idle_persister_does_not_look_before_it_is_time(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    make().start()
    await until(lambda: log.attached_store is not None)
    opened = store.opened
    await asyncio.sleep(0.05)
    assert (store.opened, log.attachments) == (opened, 1)


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
    older = store.mark = Mark(START, 1, "fake")  # an older copy
    persister.store_back()
    await until(lambda: log.tail.confirmed)
    assert log.attached_store is not None
    assert log.attached_store.mark == older, "it was attached before it was relied on"


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
    assert log.attachments == 1


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
    await until(lambda: log.attached_store is not None)
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


async def test_a_batch_during_which_the_store_was_lost_is_stored_again(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older copy may be there since, whose mark is the one before the batch."""
    persister = make()
    persister.start()
    log.tail.extend(records(3))
    await until(lambda: log.tail.watermark == log.tail.head)
    written: list[list[int]] = []
    write = store.write

    async def lost(batch: Sequence[Record]) -> list[Rejection]:
        rejections = await write(batch)
        written.append([one.id for one in batch])
        persister.store_lost()  # each time: a store that is slow to answer is no other
        return rejections

    monkeypatch.setattr(store, "write", lost)
    log.tail.extend(records(2, first=4))
    await until(lambda: log.tail.watermark == log.tail.head)
    assert written == [[one.id for one in records(2, first=4)]] * 2
