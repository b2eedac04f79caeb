"""Clients that read nothing, vanish, or hang on a bad line; nobody else may notice."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from testkit.service import MakeService, Service
from tests.fault.kit.clients import Outgoing
from tests.fault.kit.proxy import Direction, FaultProxy
from tests.fault.kit.trial import Trial, trial
from tests.fault.kit.workload import Mix

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

STEADY = Mix(pause=0.005, drop_after=None)
QUICK = {"HEARTBEAT_SECONDS": "0.5", "SOCKET_STALL_SECONDS": "1", "SOCKET_BUFFER_BYTES": "65536"}
"""So that what takes a minute takes seconds."""


async def connections(service: Service, users: list[str]) -> dict[str, int]:
    """How many sockets the service holds for each."""
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{service.url}/api/connections", json={"users": users})
        return (await answer.json())["connections"]


async def until_connections(service: Service, users: list[str], count: int) -> None:
    deadline = time.monotonic() + 30
    while sum((await connections(service, users)).values()) != count:
        assert time.monotonic() < deadline, await connections(service, users)
        await asyncio.sleep(0.05)


async def test_cut(service: Service, rounds: int, judge) -> None:
    """All sockets at once, by RST and by FIN, and the storm of resumes that follows."""
    async with FaultProxy(service.address) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with trial(service, STEADY, socket_url=url) as held:
            for number in range(rounds):
                await held.load.more(100)
                assert await proxy.cut(reset=number % 2 == 0)
            await held.load.more(100)
            held.notes["cuts"] = rounds
        verdict = judge(held)
    assert verdict.totals["resumes"] >= STEADY.listeners


@pytest.mark.parametrize(
    "direction", [Direction.UP, pytest.param(Direction.DOWN, marks=pytest.mark.slow)]
)
async def test_half_closed(service: Service, direction: Direction, judge) -> None:
    async with FaultProxy(service.address) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with trial(service, STEADY, socket_url=url) as held:
            await held.load.more(100)
            proxy.half_close(direction)
            await held.load.more(100)
        verdict = judge(held)
    assert verdict.totals["resumes"] >= STEADY.listeners


@pytest.mark.slow
async def test_delayed_and_throttled(service: Service, judge) -> None:
    async with FaultProxy(service.address) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with trial(service, STEADY, socket_url=url) as held:
            proxy.delay(0.05, jitter=0.05)
            await held.load.more(100)
            proxy.heal()
            proxy.throttle(20_000)
            await held.load.more(100)
            proxy.heal()
        judge(held)


async def test_vanish_without_a_fin(make_service: MakeService, few_rounds: int, judge) -> None:
    """A tunnel: not a byte comes through, for longer than the service waits for a pong."""
    service = make_service(QUICK)
    await service.start()
    async with FaultProxy(service.address) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with trial(service, STEADY, socket_url=url) as held:
            for _ in range(few_rounds):
                await held.load.more(100)
                await until_connections(service, held.load.users, STEADY.listeners)
                proxy.black_hole()
                await until_connections(service, held.load.users, 0)
                proxy.heal()
            await held.load.more(100)
            held.notes["tunnels"] = few_rounds
        verdict = judge(held)
    assert verdict.totals["resumes"] >= STEADY.listeners * few_rounds


@pytest.mark.slow
async def test_one_way_only(make_service: MakeService, judge) -> None:
    """What the service says arrives, what the clients say does not: no pong, so cut."""
    service = make_service(QUICK)
    await service.start()
    async with FaultProxy(service.address) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with trial(service, STEADY, socket_url=url) as held:
            await held.load.more(100)
            await until_connections(service, held.load.users, STEADY.listeners)
            proxy.black_hole(Direction.UP)
            await until_connections(service, held.load.users, 0)
            proxy.heal()
            await held.load.more(100)
        judge(held)


async def test_read_nothing(make_service: MakeService, judge) -> None:
    """One socket is never read, the others are; it is cut at its bound, and comes back."""
    service = make_service(QUICK)
    await service.start()
    async with trial(service, STEADY) as held:
        slow = held.load.listeners[0]
        await held.load.more(50)
        lives = slow.connections
        slow.reading.clear()
        await flood(held, slow.user)
        await until_sockets_fewer(held, slow.user)
        slow.reading.set()
        await held.load.more(50)
        async with asyncio.timeout(30):
            while slow.connections == lives:
                slow.moved.clear()
                await slow.moved.wait()
    judge(held)


async def until_sockets_fewer(held: Trial, user: str) -> None:
    """Until the socket that is not read was cut off, while its user's other one stays."""
    others = sum(listener.user == user for listener in held.load.listeners) - 1
    await until_connections(held.service, [user], others)


async def flood(held: Trial, user: str) -> None:
    """Two megabytes for one user: more than the kernel and the service hold for a socket."""
    conversation = next(c for c in held.load.conversations if user in c)
    sender = next(other for other in conversation if other != user)
    for number in range(160):
        message = Outgoing(sender, conversation, f"{number} " + "x" * 14_000, "flood")
        call = held.load.recorder.invoke("flood", "send", **message.recorded)
        message_id, duplicate = await held.load.http.send(message)
        call.ok(id=message_id, duplicate=duplicate)
