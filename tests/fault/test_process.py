"""The process dies, stands still, or is asked to go, in the middle of a burst."""

from __future__ import annotations

import time

import pytest

from testkit.service import Service
from tests.fault.kit.trial import trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

BURST = Mix(pause=0.005)


async def test_kill(service: Service, rounds: int, judge) -> None:
    slowest = 0.0
    async with trial(service, BURST) as held:
        for _ in range(rounds):
            await held.load.more(100)
            began = time.monotonic()
            await service.restart()
            slowest = max(slowest, time.monotonic() - began)
        await held.load.more(100)
        held.notes |= {"kills": rounds, "slowest restart s": round(slowest, 2)}
    verdict = judge(held)
    assert service.lives == rounds + 1
    assert verdict.totals["messages acknowledged"] >= 100 * (rounds + 1)
    assert verdict.totals["resumes"] > 0


@pytest.mark.slow
async def test_kill_twice_in_a_row(service: Service, rounds: int, judge) -> None:
    """The second strikes while the first life is being recovered from."""
    async with trial(service, BURST) as held:
        for _ in range(rounds):
            await held.load.more(50)
            await service.kill()
            await service.start(ready=False)
            await service.restart()
        await held.load.more(50)
        held.notes["kills"] = 2 * rounds
    judge(held)


async def test_ask_to_go(service: Service, rounds: int, judge) -> None:
    async with trial(service, BURST) as held:
        for _ in range(rounds):
            await held.load.more(100)
            assert await service.terminate() == 0, service.stderr()[-3000:]
            await service.start()
        await held.load.more(100)
        held.notes["restarts"] = rounds
    judge(held)


async def test_stand_still(service: Service, rounds: int, judge) -> None:
    """SIGSTOP until clients have given up waiting, then SIGCONT."""
    async with trial(service, Mix(pause=0.005, request_seconds=0.5)) as held:
        for _ in range(rounds):
            await held.load.more(100)
            unknown = held.load.unknown
            service.stop()
            await held.load.unknown_reach(unknown + 3)
            service.resume()
        await held.load.more(100)
        held.notes["stops"] = rounds
    verdict = judge(held)
    assert verdict.totals["sends unknown"] >= 3 * rounds


@pytest.mark.slow
async def test_killed_while_it_stands_still(service: Service, judge) -> None:
    async with trial(service, Mix(pause=0.005, request_seconds=0.5)) as held:
        await held.load.more(100)
        service.stop()
        await held.load.unknown_reach(3)
        await service.restart()
        await held.load.more(100)
    judge(held)
