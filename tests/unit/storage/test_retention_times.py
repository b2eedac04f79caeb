"""When the store is swept, what a sweep asks of it, and what it says."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.log.tail import Tail
from chatsvc.storage.retention import KEEP_EVERYTHING, Expiry, Retention
from testkit.memory_store import MemoryStore
from testkit.records import record, records
from tests.unit.support.virtual_time import in_virtual_time, passed


class Swept(MemoryStore):
    """Notes when it was asked to delete what. ``faults`` are raised first."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.records = {one.id: one for one in records(count)}
        self.purges: list[tuple[float, int, int]] = []
        self.faults: list[Exception] = []

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self.purges.append((passed(), before_id, limit))
        if self.faults:
            raise self.faults.pop()
        return await super().purge(before_id, limit=limit)


def all_expired(count: int) -> tuple[Swept, Tail, Expiry]:
    last = record(count).id
    tail = Tail(recent_bytes=1, watermark=last, floor=last)
    return Swept(count), tail, Expiry(7, lambda seconds: last if seconds == 7 * 86_400 else 0)


def names() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


@in_virtual_time
async def test_it_sweeps_every_hour_a_thousand_at_once_with_pauses_between() -> None:
    store, tail, expiry = all_expired(1500)
    retention = Retention(store, tail, expiry)
    with capture_logs() as lines:
        retention.start()
        retention.start()
        await asyncio.sleep(3700)
    before = record(1500).id + 1
    assert [at for at, _, _ in store.purges] == pytest.approx([0, 0.05, 0.1, 3600.1])
    assert {(bound, limit) for _, bound, limit in store.purges} == {(before, 1000)}
    assert lines == [
        {
            "event": "messages_expired",
            "log_level": "info",
            "count": 1500,
            "before_id": format_id(before),
        }
    ]
    assert "retention" in names()
    await retention.stop()
    assert "retention" not in names()
    await retention.stop()


@pytest.mark.parametrize(
    ("fault", "event"),
    [(StoreUnavailable("not now"), "retention_delayed"), (ValueError("odd"), "retention_failed")],
)
@in_virtual_time
async def test_after_a_failure_the_next_sweep_is_an_hour_later(
    fault: Exception, event: str
) -> None:
    store, tail, expiry = all_expired(3)
    store.faults = [fault]
    retention = Retention(store, tail, expiry)
    with capture_logs() as lines:
        retention.start()
        await asyncio.sleep(3599)
        assert len(store.records) == 3
        await asyncio.sleep(2)
        assert store.records == {}
        await retention.stop()
    assert [line["event"] for line in lines] == [event, "messages_expired"]
    assert lines[0].get("error") in (None, "not now")


async def test_a_sweep_goes_no_further_than_what_is_stored() -> None:
    store, tail, expiry = all_expired(3)
    tail.set_store_positions(stored=record(2).id, base=0, hole=None)
    assert await Retention(store, tail, expiry, pause_seconds=0).sweep() == 2
    assert {bound for _, bound, _ in store.purges} == {record(2).id + 1}


@in_virtual_time
async def test_where_everything_is_kept_nothing_is_started() -> None:
    store, tail, _ = all_expired(3)
    retention = Retention(store, tail, KEEP_EVERYTHING)
    retention.start()
    assert "retention" not in names()
    await retention.stop()
    assert (await retention.sweep(), store.purges) == (0, [])


@in_virtual_time
async def test_stopped_it_may_be_started_again() -> None:
    store, tail, expiry = all_expired(1)
    retention = Retention(store, tail, expiry)
    for _ in range(2):
        retention.start()
        await asyncio.sleep(1)
        await retention.stop()
    assert [at for at, _, _ in store.purges] == pytest.approx([0, 0.05, 1])


@pytest.mark.parametrize(
    ("days", "expired", "oldest"), [(0, 9, 0), (1, 0, 0), (1, 9, 10), (2, 9, 10)]
)
def test_the_oldest_kept_is_the_first_that_has_not_expired(
    days: int, expired: int, oldest: int
) -> None:
    asked: list[float] = []

    def older_than(seconds: float) -> int:
        asked.append(seconds)
        return expired

    assert Expiry(days, older_than).oldest_kept() == oldest
    assert asked == ([days * 86_400.0] if days else [])
