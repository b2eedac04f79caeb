"""WebSockets of one user against a real service: others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from bench.processes import pss_of_rollup
from bench.socket_attacks import (
    EMPTY_TEXT,
    JUNK_AUTH,
    PING,
    Reader,
    Socket,
    Talkers,
    auth,
    burst,
    crowd,
    flood,
    send,
)
from testkit.service import Service, token
from testkit.waiting import until

MIB = 1024 * 1024
FLOOD_BYTES = 8_000_000


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path / "data", env={"HEARTBEAT_SECONDS": "600"}) as one:
        yield one


def talkers(service: Service) -> Talkers:
    """Honest pairs, to be entered as a block."""
    rows = [(f"a{n}", token(f"a{n}"), f"b{n}", token(f"b{n}")) for n in range(2)]
    return Talkers(service.port, rows)


def memory(service: Service) -> int:
    return pss_of_rollup(Path(f"/proc/{service.pid}/smaps_rollup").read_text())


async def connected(service: Service, user: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.url}/api/connections", json={"users": [user]}) as answer,
    ):
        return int((await answer.json())["connections"][user])


FLOODS: dict[str, Callable[[], bytes]] = {
    "empty pings": lambda: PING,
    "empty text frames": lambda: EMPTY_TEXT,
    "junk auth": lambda: JUNK_AUTH,
    "good auth that ends soon": lambda: auth(token("mallory", 40)),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_closed_with_1008_and_others_are_served(
    service: Service, name: str
) -> None:
    frame = FLOODS[name]()
    async with talkers(service) as honest:
        await until(lambda: len(honest.seconds) > 20)
        before = memory(service)
        for _ in range(2):
            codes = await asyncio.gather(
                *(flood(service.port, token("mallory"), frame, FLOOD_BYTES) for _ in range(4))
            )
            assert codes == [1008] * 4
        served = len(honest.seconds)
        await until(lambda: len(honest.seconds) > served + 20)
        assert not honest.lost
        assert memory(service) - before < 30 * MIB


async def test_nobody_can_keep_anybody_offline(service: Service) -> None:
    """Five senders, three times a hundred messages of 96 KB: the reader reads, and stays."""
    senders = [f"s{number}" for number in range(5)]
    async with talkers(service) as honest, Reader(service.port, token("victim")) as victim:
        ids: list[str] = []
        for _ in range(3):
            sent = await asyncio.gather(
                *(burst(service.port, name, token(name), "victim", 20) for name in senders)
            )
            ids += sorted(message for one in sent for message in one)
        assert len(ids) == 300
        await until(lambda: len(victim.ids) >= 300)
        assert victim.ids == ids, "all of it, in order, once"
        assert victim.cuts == 0
        assert not honest.lost


async def test_a_slow_victim_counts_as_connected_while_it_is_buried(service: Service) -> None:
    async with await Socket.open(service.port, token("victim"), receive_buffer=4096) as victim:
        assert (await victim.frame() or {}).get("type") == "hello"
        ids = await burst(service.port, "mallory", token("mallory"), "victim", 60)
        assert await connected(service, "victim") == 1
        got = []
        async with asyncio.timeout(60):
            while len(got) < 60:
                frame = await victim.frame()
                assert frame is not None, victim.code
                got += [frame["id"]] if frame["type"] == "message" else []
        assert got == ids


async def test_answers_that_are_not_read_fill_no_memory(service: Service) -> None:
    async with talkers(service) as honest:
        before = memory(service)
        sockets = [
            await Socket.open(service.port, token("mallory"), receive_buffer=4096)
            for _ in range(20)
        ]
        data = send(["mallory"], "x") * 100_000
        writing = [asyncio.create_task(one.write(data, seconds=3)) for one in sockets]
        assert not any(await asyncio.gather(*writing)), "the service stops reading"
        served = len(honest.seconds)
        await until(lambda: len(honest.seconds) > served + 20)
        # What is accepted is kept for resumes; beside it each socket has its bound.
        assert memory(service) - before < 100 * MIB
        assert not honest.lost
        for one in sockets:
            one.hang_up()


async def test_one_user_has_a_bounded_number_of_sockets(service: Service) -> None:
    async with talkers(service) as honest:
        opened, refused = await crowd(service.port, token("mallory"), 300)
        assert (len(opened), refused) == (100, {"429": 200})
        assert await connected(service, "mallory") == 100
        async with await Socket.open(service.port, token("somebody")) as other:
            assert (await other.frame() or {}).get("type") == "hello"
        for one in opened:
            one.hang_up()
        async with asyncio.timeout(30):
            while await connected(service, "mallory"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        opened, _ = await crowd(service.port, token("mallory"), 1)
        assert len(opened) == 1
        opened[0].hang_up()
        assert not honest.lost


async def test_sockets_that_are_being_closed_count_too(tmp_path: Path) -> None:
    """Whoever opens, provokes a close, does not answer it, and opens again, without end."""
    binary = b"\x82\x80\0\0\0\0"
    async with Service(tmp_path / "few", env={"MAX_CONNECTIONS_PER_USER": "2"}) as service:
        opened, _ = await crowd(service.port, token("mallory"), 2)
        for one in opened:
            assert await one.write(binary)
            assert await one.closed() == 1003
        more, refused = await crowd(service.port, token("mallory"), 1)
        assert (more, refused) == ([], {"429": 1})
        for one in opened:
            one.hang_up()
