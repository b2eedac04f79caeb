"""Groups in the log alone, without a service: joins at once, sends meanwhile, members in a row.

The log is this checkout's, in a folder of the disk that is measured. A send with a guard is beside
one without in the same run, and a join in a small group beside one in a large one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from bench.options import Options
from bench.report import Figures
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from testkit.group_drafts import Group, said

JOINS: Final = 10_000
_SENDS: Final = 2000
_AT_ONCE: Final = 64
_PAGE: Final = 100
_SCENARIO: Final = "Groups in the log"


async def run(options: Options, figures: Figures) -> None:
    """Measure this checkout's log."""
    with options.temporary() as folder:
        log = await _open(folder)
        try:
            await _joins(log, figures)
            await _sends(log, figures)
            await _reads(log, figures)
        finally:
            await log.close()


async def _open(folder: Path) -> LocalLog:
    return await LocalLog.open(
        folder,
        recent_bytes=1 << 26,
        backlog_bytes=1 << 30,
        idempotency_ms=600_000,
        idempotency_keys=1_000_000,
        retention_ms=86_400_000,
        store=StoreState("a store", None, 0),
    )


async def _joins(log: LocalLog, figures: Figures) -> None:
    """All at once, with a member who sends one message after another meanwhile."""
    group = Group(log, ",g:large")
    await group.join("sender")
    before, records = time.process_time(), len(log.tail)
    started = time.perf_counter()
    joins = asyncio.gather(*(group.join(f"user {at}") for at in range(JOINS)))
    latencies: list[float] = []
    while not joins.done():
        asked = time.perf_counter()
        await group.say("sender")
        latencies.append(time.perf_counter() - asked)
    await joins
    seconds, cpu = time.perf_counter() - started, time.process_time() - before
    records = len(log.tail) - records - len(latencies)
    at = f"{JOINS:,} joins at once"
    _add(figures, at, "records", records)
    _add(figures, f"{at}, time", "s", seconds)
    _add(figures, f"{at}, CPU a join", "µs", 1e6 * cpu / JOINS)
    latencies.sort()
    _add(figures, "a send meanwhile, p99", "ms", 1e3 * latencies[len(latencies) * 99 // 100])


async def _sends(log: LocalLog, figures: Figures) -> None:
    group = Group(log, ",g:small")
    await group.join("sender")
    draft = said("x", channel=",g:small", sender="sender")
    guarded, plain = "a guarded send, CPU", "one without a guard, CPU"
    for at_once in (1, _AT_ONCE):
        for what, send in (
            (guarded, lambda: group.say("sender")),
            (plain, lambda: log.append(draft)),
        ):
            cpu = await _cpu_of(send, at_once)
            _add(figures, f"{what}, {at_once} at once", "µs", cpu)
    count = [0]

    async def join() -> None:
        count[0] += 1
        await group.join(f"another {count[0]}")

    _add(figures, "one join of a small group, CPU", "µs", await _cpu_of(join, 1))


async def _cpu_of(call: Callable[[], Awaitable[Any]], at_once: int) -> float:
    before = time.process_time()
    for _ in range(_SENDS // at_once):
        await asyncio.gather(*(call() for _ in range(at_once)))
    return 1e6 * (time.process_time() - before) / (_SENDS // at_once * at_once)


async def _reads(log: LocalLog, figures: Figures) -> None:
    """The rows of users who have connected for the first time, and of a group in pages."""
    before = time.process_time()
    for at in range(JOINS):
        log.state.intervals(f"user {at}")
    cpu = time.process_time() - before
    _add(figures, "the channels of a user who connects, CPU", "µs", 1e6 * cpu / JOINS)
    after: tuple[int, str] | None = (0, "")
    before, pages = time.process_time(), 0
    while after is not None:
        after = log.state.members_page(",g:large", after, _PAGE).after
        pages += 1
    cpu = time.process_time() - before
    _add(figures, f"a page of {_PAGE} members, CPU", "µs", 1e6 * cpu / pages)


def _add(figures: Figures, what: str, unit: str, value: float) -> None:
    figures.add(_SCENARIO, "chatsvc", what, unit, value)
