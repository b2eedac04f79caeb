"""More connections than there are descriptors, or than there may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.attacks import Crowd, answer, large_file
from bench.http_load import request
from testkit.service import MakeService, Service
from tests.hostile.conftest import eventually, honest

FEW_FILES = ("prlimit", "--nofile=256:256")


def cpu_seconds(service: Service) -> float:
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def metric(service: Service, name: str) -> float:
    _, _, text = await answer(service.port, request("GET", "/metrics", {}))
    for line in text.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


async def test_more_readers_than_descriptors(make_service: MakeService) -> None:
    service = make_service({"SOCKET_STALL_SECONDS": "4"}, prefix=FEW_FILES)
    await service.start()
    async with Crowd(service.port) as crowd:
        await crowd.open(330)
        await crowd.send(large_file(), seconds=1)
        async with honest(service) as others:
            await eventually(lambda: others.answered > 50)
            assert not others.failures
        await eventually(lambda: crowd.closed() == 330)
    paused = [line for line in service.stderr().splitlines() if '"accept_paused"' in line]
    assert len(paused) == 1, "said once"
    assert await metric(service, "chatsvc_accept_pauses_total") >= 1
    assert "Too many open files" not in service.stderr()


async def test_running_out_of_descriptors_pauses_accepting(make_service: MakeService) -> None:
    """Something else took them: the limit is lowered to what is open, under the service."""
    service = make_service()
    await service.start()
    limit = len(list(Path(f"/proc/{service.pid}/fd").iterdir())) + 2
    await prlimit(service, limit)
    async with Crowd(service.port) as crowd:
        await crowd.open(10)
        await eventually(lambda: '"reason":"EMFILE"' in service.stderr())
        spent = cpu_seconds(service)
        waited = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() > waited + 2)
        assert cpu_seconds(service) - spent < 1.0, "it does not try without end"
        await prlimit(service, 4096)
        async with honest(service) as others:
            await eventually(lambda: others.answered > 20)
            assert not others.failures
    assert service.stderr().count('"accept_paused"') == 1
    assert await metric(service, "chatsvc_accept_pauses_total") >= 1


async def prlimit(service: Service, files: int) -> None:
    process = await asyncio.create_subprocess_exec(
        "prlimit", f"--pid={service.pid}", f"--nofile={files}:"
    )
    assert await process.wait() == 0


async def test_idle_connections_give_way_to_new_ones(make_service: MakeService) -> None:
    service = make_service({"MAX_HTTP_CONNECTIONS": "50"})
    await service.start()
    async with Crowd(service.port) as crowd:
        await crowd.open(40)
        await crowd.send(request("GET", "/health/live", {}))
        await crowd.open(100)
        async with honest(service) as others:
            await eventually(lambda: others.answered > 50)
            assert not others.failures


async def test_an_address_has_its_own_bound(make_service: MakeService) -> None:
    service = make_service({"MAX_HTTP_CONNECTIONS_PER_ADDRESS": "20"})
    await service.start()
    async with Crowd(service.port) as crowd:
        await crowd.open(20)
        # Those without a request are closed after 10 seconds, which a busy machine may need.
        await crowd.send(request("GET", "/health/live", {}))
        await crowd.open(40)
        await eventually(lambda: crowd.closed() >= 40)
        status = 200
        while status == 200:  # a connection of the service's start may have counted until now
            await crowd.open(1)
            status, head, body = await answer(service.port, request("GET", "/health/live", {}))
        assert status == 429
        assert b"too_many_connections" in body
        assert b"retry-after: 1" in head.lower()
        crowd.hang_up()
    async with honest(service) as others:
        await eventually(lambda: others.answered > 20)
    assert service.stderr().count('"address_refused"') == 1
