"""A second consumer beside the persister: nothing twice and nothing missing, whatever happens."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.log.reconcile import Mark
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, change, record
from testkit.waiting import until
from tests.unit.support.counting import KindCounter, read_counts
from tests.unit.support.noted_log import NotedLog
from tests.unit.support.virtual_time import in_virtual_time, passed

QUICK: dict[str, Any] = {"batch_seconds": 0.001, "first_wait": 0.001, "first_pause": 0.002}


class Killed(BaseException):
    """Of the process."""


class Setting:
    """A log whose file is trimmed by hand, with everything that it trims in the store."""

    def __init__(self) -> None:
        self.log = NotedLog()
        self.store = MemoryStore(kinds=KINDS)
        self._count = 0

    def accept(self, count: int) -> None:
        numbers = range(self._count + 1, self._count + count + 1)
        self._count += count
        new = [record(n) if n % 3 else change(n) for n in numbers]
        self.log.records += new
        self.log.tail.extend(new)

    async def trim(self, left: int) -> None:
        """Store everything, and leave the newest records to file and tail."""
        assert await self.store.write(self.log.records) == []
        newest = self.log.records[-1].id
        self.store.mark = Mark(newest, 1, "e", None, "", 0)
        self.log.tail.advance(newest)
        self.log.tail.floor = self.log.records[-left - 1].id
        del self.log.records[:-left]

    def expected(self) -> dict[str, int]:
        edits = self._count // 3
        counts = {"message": self._count - edits, "edit": edits}
        return {kind: count for kind, count in counts.items() if count}


@pytest.fixture
def at() -> Setting:
    return Setting()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts.json"


async def count_all(at: Setting, path: Path, **options: Any) -> None:
    counter = KindCounter(at.log, at.store, path, **{**QUICK, **options})
    counter.start()
    await until(lambda: read_counts(path)["position"] >= at.log.tail.head)
    await counter.stop(drain=False)


async def test_it_goes_on_where_it_was(at: Setting, path: Path) -> None:
    for count in (7, 0, 5):
        at.accept(count)
        await count_all(at, path, batch=3)
        assert read_counts(path) == {"counts": at.expected(), "position": at.log.tail.head}


async def test_it_does_not_hold_back_the_log(at: Setting, path: Path) -> None:
    at.accept(4)
    await count_all(at, path)
    assert at.log.tail.watermark == 0, "and it is the persister that says what is stored"


@pytest.mark.parametrize("batch", [1, 4])
async def test_what_was_trimmed_is_read_from_the_store(at: Setting, path: Path, batch: int) -> None:
    at.accept(5)
    await count_all(at, path, batch=batch)
    at.accept(20)
    await at.trim(left=3)
    at.accept(2)
    await count_all(at, path, batch=batch)
    assert read_counts(path)["counts"] == at.expected()


@pytest.mark.parametrize("seed", range(12))
async def test_killed_at_any_point_and_started_again(at: Setting, path: Path, seed: int) -> None:
    dice = random.Random(seed)

    def reached(step: str) -> None:
        if dice.random() < 0.3:
            raise Killed(step)

    for _ in range(25):
        at.accept(dice.randrange(0, 6))
        if dice.random() < 0.2 and len(at.log.records) > 2:
            await at.trim(left=dice.randrange(1, 3))
        counter = KindCounter(at.log, at.store, path, batch=dice.randrange(1, 5), reached=reached)
        try:
            while counter._consumed.has_work():
                await counter._round()
        except Killed:
            continue
    await count_all(at, path)
    assert read_counts(path) == {"counts": at.expected(), "position": at.log.tail.head}


@in_virtual_time
async def test_a_batch_that_fails_is_tried_again_with_growing_pauses(path: Path) -> None:
    at = Setting()
    times: list[float] = []

    def reached(step: str) -> None:
        times.append(passed())
        if len(times) < 6:
            raise StoreUnavailable("not now")

    counter = KindCounter(at.log, at.store, path, attempts=2, reached=reached)
    at.accept(4)
    with capture_logs() as lines:
        counter.start()
        await asyncio.sleep(0.5)
        assert (counter.status.status, counter.status.error) == ("degraded", "not now")
        await asyncio.sleep(60)
        await counter.stop(drain=False)
    assert counter.counts == at.expected()
    assert (counter.status.status, counter.status.error) == ("ok", None)
    found = [line["event"] for line in lines]
    assert found == ["store_retry", "round_failed"] * 2 + ["store_retry", "store_recovered"]
    pauses = [later - first for first, later in zip(times[1::2], times[2::2], strict=False)]
    assert 0.5 <= pauses[0] <= 1.01
    assert 1 <= pauses[1] <= 2.01


@in_virtual_time
async def test_an_error_that_nobody_foresaw_is_logged_and_tried_again(path: Path) -> None:
    at = Setting()
    failures = [ZeroDivisionError("a text that may quote content")]

    def reached(step: str) -> None:
        if failures:
            raise failures.pop()

    counter = KindCounter(at.log, at.store, path, reached=reached)
    at.accept(2)
    with capture_logs() as lines:
        counter.start()
        await asyncio.sleep(0.1)
        assert (counter.status.status, counter.status.error) == ("degraded", "ZeroDivisionError")
        await asyncio.sleep(5)
        await counter.stop(drain=False)
    assert counter.counts == at.expected()
    assert [line["event"] for line in lines] == [
        "consumer_error", "round_failed", "store_recovered",
    ]  # fmt: skip
    assert (lines[0]["count"], lines[0]["log_level"]) == (2, "error")


@in_virtual_time
async def test_it_halts_at_what_only_another_program_can_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Setting()

    def halt(counter: KindCounter, exc: Exception) -> bool:
        if isinstance(exc, LookupError):
            counter.status.halt("unknown_kind", str(exc))
            return True
        return False

    def reached(step: str) -> None:
        raise LookupError("a kind")

    monkeypatch.setattr(KindCounter, "_halt", halt)
    counter = KindCounter(at.log, at.store, path, reached=reached)
    at.accept(1)
    with capture_logs() as lines:
        counter.start()
        await asyncio.sleep(100)
        await counter.stop(drain=True)
    assert (counter.status.status, counter.status.error) == ("stopped", "a kind")
    assert [line["event"] for line in lines] == ["unknown_kind"]
    assert not path.exists()


@pytest.mark.parametrize(("drain", "done"), [(True, 3), (False, 0)])
@in_virtual_time
async def test_it_drains_where_it_is_asked_to(path: Path, drain: bool, done: int) -> None:
    at = Setting()
    counter = KindCounter(at.log, at.store, path, batch_seconds=100)
    counter.start()
    await asyncio.sleep(1)
    at.accept(3)
    await asyncio.sleep(1)
    await counter.stop(drain=drain)
    assert counter.counts.total() == done
    assert passed() == pytest.approx(2)


@in_virtual_time
async def test_one_that_does_not_end_is_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Setting()

    async def hang(*_: object) -> Any:
        await asyncio.Event().wait()

    counter = KindCounter(at.log, at.store, path, batch_seconds=0)
    monkeypatch.setattr(counter._feed, "next", hang)
    counter.start()
    at.accept(1)
    await asyncio.sleep(1)
    with capture_logs() as lines:
        await counter.stop(drain=False, seconds=3)
    assert ([line["event"] for line in lines], passed()) == (
        ["consumer_cut_off"], pytest.approx(4),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="a counter starts once"):
        counter.start()
