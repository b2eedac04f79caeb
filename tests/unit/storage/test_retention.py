"""Old messages go, unsaved ones never, and a sweep that fails is followed by another."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.retention import KEEP_EVERYTHING, Expiry, Retention
from testkit.memory_store import MemoryStore
from testkit.records import record, records
from testkit.waiting import until


def expiring(days: int, up_to: int) -> Expiry:
    """``up_to`` has become so many days old."""

    def older_than(seconds: float) -> int:
        assert seconds == days * 86_400
        return up_to

    return Expiry(days, older_than)


def stored(*records: Record) -> MemoryStore:
    store = MemoryStore()
    store.records = {one.id: one for one in records}
    return store


def saved_up_to(position: int) -> Tail:
    return Tail(recent_bytes=1, watermark=position, floor=position)


async def test_what_is_older_goes_and_what_is_younger_stays() -> None:
    old, young = records(2500), records(2, first=2501)
    store = stored(*old, *young)
    expiry = expiring(7, old[-1].id)
    assert expiry.oldest_kept() == old[-1].id + 1
    retention = Retention(store, saved_up_to(young[-1].id), expiry, pause_seconds=0)
    assert await retention.sweep() == 2500
    assert sorted(store.records) == [one.id for one in young]
    assert await retention.sweep() == 0


async def test_nothing_that_the_store_does_not_hold_yet_goes_however_old() -> None:
    saved, unsaved = record(1), record(2)
    store = stored(saved, unsaved)
    tail = saved_up_to(unsaved.id)
    tail.set_store_positions(stored=saved.id, base=0, hole=None)
    retention = Retention(store, tail, expiring(1, unsaved.id), pause_seconds=0)
    assert await retention.sweep() == 1
    assert sorted(store.records) == [unsaved.id]


async def test_nothing_goes_before_time_has_passed_whatever_a_clock_says() -> None:
    """An old log that was just upgraded: nothing is known yet of how old its messages are."""
    store = stored(record(1))
    expiry = expiring(1, 0)
    assert expiry.oldest_kept() == 0
    retention = Retention(store, saved_up_to(record(2).id), expiry)
    assert await retention.sweep() == 0


async def test_zero_days_keep_everything() -> None:
    assert KEEP_EVERYTHING.oldest_kept() == 0
    store = stored(record(1))
    retention = Retention(store, saved_up_to(record(2).id), Expiry(0, lambda _: record(2).id))
    retention.start()
    assert await retention.sweep() == 0
    assert len(store.records) == 1
    await retention.stop()


async def test_it_sweeps_again_after_a_store_that_was_away() -> None:
    store = stored(record(1))
    store.away = True
    expiry = expiring(1, record(1).id)
    retention = Retention(store, saved_up_to(record(2).id), expiry, every_seconds=0.005)
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
