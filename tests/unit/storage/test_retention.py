"""Old messages go, unsaved ones never, and a sweep that fails is followed by another."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.record import Record, accept
from chatsvc.log.tail import Tail
from chatsvc.storage.retention import Retention, oldest_kept
from tests.support.memory_store import MemoryStore
from tests.support.records import draft
from tests.support.waiting import until

DAY_MS = 86_400_000


def days_ago(days: float, number: int = 0) -> Record:
    return accept(draft(), id_at(now_ms() - round(days * DAY_MS)) + number * STEP)


def stored(*records: Record) -> MemoryStore:
    store = MemoryStore()
    store.records = {one.id: one for one in records}
    return store


def saved_up_to(position: int) -> Tail:
    return Tail(recent_bytes=1, watermark=position, floor=position)


async def test_what_is_older_goes_and_what_is_younger_stays() -> None:
    old = [days_ago(8, number) for number in range(2500)]
    young = [days_ago(6), days_ago(0)]
    store = stored(*old, *young)
    retention = Retention(store, saved_up_to(young[-1].id), 7, pause_seconds=0)
    assert await retention.sweep() == 2500
    assert sorted(store.records) == [one.id for one in young]
    assert await retention.sweep() == 0


async def test_nothing_above_the_watermark_goes_however_old() -> None:
    saved, unsaved = days_ago(9), days_ago(8)
    store = stored(saved, unsaved)
    assert await Retention(store, saved_up_to(saved.id), 1, pause_seconds=0).sweep() == 1
    assert sorted(store.records) == [unsaved.id]


async def test_zero_days_keep_everything() -> None:
    assert oldest_kept(0) == 0
    store = stored(days_ago(10_000))
    retention = Retention(store, saved_up_to(days_ago(0).id), 0)
    retention.start()
    assert await retention.sweep() == 0
    assert len(store.records) == 1
    await retention.stop()


async def test_it_sweeps_again_after_a_store_that_was_away() -> None:
    store = stored(days_ago(3))
    store.away = True
    retention = Retention(store, saved_up_to(days_ago(0).id), 1, every_seconds=0.005)
    with pytest.raises(StoreUnavailable):
        await retention.sweep()
    with capture_logs() as lines:
        retention.start()
        await until(lambda: any(line["event"] == "retention_delayed" for line in lines))
        store.away = False
        await until(lambda: not store.records)
        await until(lambda: any(line["event"] == "messages_expired" for line in lines))
    await retention.stop()
    await retention.stop()
