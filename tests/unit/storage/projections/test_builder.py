"""The builder: parts, what it does on failures, and which removals it forgets."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from chatsvc.core.projection import Column, Projection, Projections, Put, Remove, RowChange
from chatsvc.core.record import Record, pack
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.projections import builder as builder_module
from chatsvc.storage.projections.builder import ProjectionBuilder
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, START, change
from tests.unit.support.noted_log import NotedLog
from tests.unit.support.virtual_time import in_virtual_time


class Folding:
    """Puts a row for each edit and removes it with a reaction; ``broken`` fails instead."""

    broken = False

    def __call__(self, record: Record) -> list[RowChange]:
        if self.broken:
            raise ZeroDivisionError
        change_ = Put if record.kind == "edit" else Remove
        return [change_((record.channel,), {}) if change_ is Put else Remove((record.channel,))]


@pytest.fixture
def folding() -> Folding:
    return Folding()


@pytest.fixture
def projections(folding: Folding) -> Projections:
    key = (Column("channel", "text"),)
    kinds = ("edit", "reaction")
    return Projections([Projection(name="one", version=1, kinds=kinds, key=key, fold=folding)])


@pytest.fixture
def store(projections: Projections) -> MemoryStore:
    return MemoryStore(kinds=KINDS, projections=projections)


@pytest.fixture
def log() -> NotedLog:
    return NotedLog()


async def stored(store: MemoryStore, count: int) -> None:
    for number in range(1, count + 1):
        await store.write([change(number, "reaction" if number % 2 == 0 else "edit")])
    store.mark = Mark(change(count).id, 1, "e", None, "", 0)
    await store.projections.begin_anew("one")


@in_virtual_time
async def test_it_builds_in_parts_and_tells_of_each(
    store: MemoryStore, log: NotedLog, projections: Projections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder_module, "STEP_RECORDS", 2)
    await stored(store, 5)
    positions: list[int] = []
    building = ProjectionBuilder(
        store, log, projections, moved=lambda: positions.append(store.rows.rows["one"].position)
    )
    building.start()
    await asyncio.sleep(1)
    assert positions == [change(n).id for n in (2, 4, 5)]
    await building.stop()
    await building.stop()


@in_virtual_time
async def test_it_goes_on_after_a_store_that_was_unavailable_or_a_fold_that_failed(
    store: MemoryStore, log: NotedLog, projections: Projections, folding: Folding
) -> None:
    await stored(store, 3)
    building = ProjectionBuilder(store, log, projections)
    store.away, folding.broken = True, True
    with capture_logs() as lines:
        building.start()
        await asyncio.sleep(25)
        store.away = False
        await asyncio.sleep(10)
        assert [
            (line["event"], line["log_level"]) for line in lines if line["log_level"] != "debug"
        ] == [("projection_not_built", "error")]
        assert await store.projections.position("one") == 0
        folding.broken = False
        await asyncio.sleep(10)
    assert await store.projections.position("one") == change(3).id
    await building.stop()


@in_virtual_time
async def test_what_it_sees_is_kept_for_operators(
    store: MemoryStore,
    log: NotedLog,
    projections: Projections,
    folding: Folding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(builder_module, "STEP_RECORDS", 2)
    building = ProjectionBuilder(store, log, projections)
    status = building.status
    await building.build()
    assert (status.building, status.seconds_behind) == ({"one": 0}, {"one": 0})
    assert status.problem is None
    await stored(store, 5)
    assert await building.step("one")
    assert (status.building, status.failing, status.lowest) == ({"one": 1}, {"one": 0}, 0)
    assert status.problem == "projection 'one' is being built, and its rows lack older records"
    folding.broken = True
    await building.build()
    assert (status.building, status.failing) == ({"one": 1}, {"one": 1})
    assert status.lowest == change(2).id
    assert status.problem is not None
    assert status.problem.startswith("projection 'one' cannot be built: projection 'one' cannot")
    folding.broken = False
    await building.build()
    assert (status.building, status.failing, status.problem) == ({"one": 0}, {"one": 0}, None)
    assert status.lowest is None


@in_virtual_time
async def test_the_log_holds_what_was_touched_since_the_one_that_is_furthest_behind(
    store: MemoryStore,
    log: NotedLog,
    projections: Projections,
    folding: Folding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(builder_module, "STEP_RECORDS", 2)
    await stored(store, 5)
    building = ProjectionBuilder(store, log, projections)
    await building.build()
    assert log.held == [0, change(2).id, change(4).id, None]
    await store.projections.begin_anew("one")
    folding.broken = True
    log.held.clear()
    building.start()
    await asyncio.sleep(15)
    assert log.held == [0, 0]
    folding.broken = False
    await asyncio.sleep(10)
    assert log.held[2:] == [0, change(2).id, change(4).id, None]
    await building.stop()


async def test_one_that_cannot_be_built_holds_up_no_other(
    store: MemoryStore, log: NotedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever prevents it: here what nobody foresaw."""
    key = (Column("channel", "text"),)
    both = Projections(
        Projection(name=name, version=1, kinds=("edit",), key=key, fold=lambda _: [])
        for name in ("one", "two")
    )
    store = MemoryStore(kinds=KINDS, projections=both)
    await store.write([change(1)])
    store.mark = Mark(change(1).id, 1, "e", None, "", 0)
    for one in both:
        await store.projections.begin_anew(one.name)
    position = store.projections.position

    async def broken(name: str) -> int:
        if name == "one":
            raise ZeroDivisionError
        return await position(name)

    monkeypatch.setattr(store.projections, "position", broken)
    building = ProjectionBuilder(store, log, both, pause_seconds=0)
    with capture_logs() as lines:
        await building.build()
        await building.build()
    assert [line["error"] for line in lines if line["log_level"] == "error"] == [
        "ZeroDivisionError"
    ]
    assert building.status.failing == {"one": 1, "two": 0}
    assert await position("two") == change(1).id


async def test_without_a_projection_there_is_nothing_to_do(
    store: MemoryStore, log: NotedLog
) -> None:
    building = ProjectionBuilder(store, log, Projections())
    building.start()
    assert "projections" not in {task.get_name() for task in asyncio.all_tasks()}
    await building.stop()


@pytest.mark.parametrize(
    ("in_log", "letter", "left"),
    [(None, None, 0), (5, None, 1), (2, None, 3), (5, 3, 2), (None, 3, 2), (3, 5, 2)],
)
async def test_removals_are_kept_from_the_oldest_record_on_that_may_come_again(
    store: MemoryStore,
    log: NotedLog,
    projections: Projections,
    in_log: int | None,
    letter: int | None,
    left: int,
) -> None:
    channels = [("alice", f"user{n}") for n in range(1, 7)]
    batch = [change(n, "reaction", to=to) for n, to in zip((2, 4, 6), channels, strict=False)]
    await store.write(batch)
    log.tail.head = START + (1 << 40)
    if in_log is not None:
        log.records.append(change(in_log))
    if letter is not None:
        one = change(letter)
        await store.dead_letters.put([DeadLetter(one.id, "code", "reason", 1, pack(one))])
    building = ProjectionBuilder(store, log, projections, pause_seconds=0)
    assert await building.purge() == 3 - left
    assert len(store.rows.rows["one"].changes.removed) == left


@in_virtual_time
async def test_removals_are_forgotten_at_the_start_and_once_an_hour(
    store: MemoryStore, log: NotedLog, projections: Projections
) -> None:
    removed = store.rows.rows["one"].changes.removed
    await store.write([change(1, "reaction")])
    log.tail.head = change(9).id
    building = ProjectionBuilder(store, log, projections)
    building.start()
    await asyncio.sleep(5)
    assert not removed
    await store.write([change(2, "reaction")])
    await asyncio.sleep(3580)
    assert removed
    await asyncio.sleep(30)
    assert not removed
    await building.stop()
