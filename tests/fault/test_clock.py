"""The wall clock is set while the service runs."""

from __future__ import annotations

import pytest

from testkit.service import MakeService, Service
from tests.fault.kit.clock import HOUR, Clock
from tests.fault.kit.trial import trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

MIX = Mix(pause=0.005)


@pytest.fixture
async def service(make_service: MakeService, clock: Clock) -> Service:
    started = make_service(clock.env)
    await started.start()
    return started


async def accepted_at(held) -> str:
    """``created_at`` of the newest message."""
    page = await held.load.http.page(held.load.users[0], limit=1)
    return page["messages"][-1]["created_at"]


@pytest.mark.slow
async def test_the_kit_sets_the_clock(service: Service, clock: Clock, judge) -> None:
    """Forward, where ids follow it: so the tests below do turn the clock they mean to."""
    async with trial(service, MIX) as held:
        await held.load.more(50)
        before = await accepted_at(held)
        clock.set(48 * HOUR)
        await held.load.more(50)
        after = await accepted_at(held)
        assert after[:10] > before[:10]
    judge(held)


async def test_back_an_hour(service: Service, clock: Clock, rounds: int, judge) -> None:
    async with trial(service, MIX) as held:
        for number in range(1, rounds + 1):
            await held.load.more(100)
            clock.set(-HOUR * number)
        await held.load.more(100)
        held.notes["steps back"] = rounds
    judge(held)


@pytest.mark.slow
async def test_killed_and_back_an_hour(service: Service, clock: Clock, rounds: int, judge) -> None:
    """The first id of a new epoch is above the last of the old one, whatever the time is."""
    async with trial(service, MIX) as held:
        for number in range(1, rounds + 1):
            await held.load.more(100)
            await service.kill()
            clock.set(-HOUR * number)
            await service.start()
        await held.load.more(100)
        held.notes["steps back"] = rounds
    judge(held)


async def test_forward_and_back(service: Service, clock: Clock, rounds: int, judge) -> None:
    """Ahead by two hours, beyond the window of client ids, and back again."""
    async with trial(service, MIX) as held:
        for _ in range(rounds):
            await held.load.more(100)
            clock.set(2 * HOUR)
            await held.load.more(100)
            clock.set(0)
        await held.load.more(100)
        held.notes["steps"] = 2 * rounds
    judge(held)
