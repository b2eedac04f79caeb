"""Answers that nobody reads: bounded, cut off, and their memory comes back."""

from __future__ import annotations

import asyncio
import signal

from bench.attacks import Crowd, answer, large_file, resident, unread_page, watched
from bench.http_load import request
from testkit.service import MakeService, token
from tests.hostile.conftest import eventually, honest, long_messages

MIB = 1024 * 1024


async def test_pages_that_nobody_reads(make_service: MakeService) -> None:
    service = make_service({"SOCKET_STALL_SECONDS": "3"})
    await service.start()
    await long_messages(service, 300)
    before = resident(service.pid)
    async with honest(service) as others, watched(service.pid) as most:
        async with Crowd(service.port) as crowd:
            await crowd.open(20)
            assert await crowd.send(unread_page(token("bob"))) == 20
            await eventually(lambda: crowd.closed() == 20)
        await eventually(lambda: others.answered > 50)
        assert most() - before < 100 * MIB
        assert not others.failures


async def test_memory_comes_back_when_the_readers_hang_up(make_service: MakeService) -> None:
    service = make_service({"SOCKET_STALL_SECONDS": "600"})
    await service.start()
    await long_messages(service, 300)

    before = resident(service.pid)
    for _ in range(5):
        async with Crowd(service.port) as crowd:
            await crowd.open(60)
            await crowd.send(unread_page(token("bob")))
            await eventually(lambda: resident(service.pid) > before + 40 * MIB)
        # 60 pages of 1 MiB; what the process keeps for the next ones is not that much.
        await eventually(lambda: resident(service.pid) < before + 25 * MIB)


async def test_a_head_request_builds_no_page(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    await long_messages(service, 100)
    bearer = {"Authorization": f"Bearer {token('bob')}"}
    page = request("HEAD", "/api/messages?limit=1000", bearer)
    before = resident(service.pid)
    async with watched(service.pid) as most:
        for _ in range(100):
            status, head, _ = await answer(service.port, page)
            assert status == 200
            assert b"content-length" not in head.lower()
    assert most() - before < 10 * MIB


async def test_stopping_does_not_wait_for_readers_that_do_not_read(
    make_service: MakeService,
) -> None:
    service = make_service({"SHUTDOWN_SECONDS": "600", "SOCKET_STALL_SECONDS": "600"})
    await service.start()
    await long_messages(service, 300)
    async with Crowd(service.port) as crowd:
        await crowd.open(20)
        await crowd.send(unread_page(token("bob")))
        await crowd.open(20)
        await asyncio.gather(
            *[
                asyncio.get_running_loop().sock_sendall(one, large_file())
                for one in crowd.sockets[20:]
            ]
        )
        assert await service.terminate() == 0  # within the kit's 30 seconds, not within 600


async def test_a_slow_reader_that_reads_gets_everything(make_service: MakeService) -> None:
    service = make_service({"SOCKET_STALL_SECONDS": "3"})
    await service.start()
    async with Crowd(service.port) as crowd:
        (one,) = await crowd.open(1)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, large_file())
        received = bytearray()
        for _ in range(16):  # longer than the stall, and always some of it
            received += await loop.sock_recv(one, 100_000)
            await asyncio.sleep(0.4)
        head, _, _ = bytes(received).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(received) < len(head) + 4 + length:
            part = await loop.sock_recv(one, 1 << 20)
            assert part, "it was cut off"
            received += part


async def test_a_stop_is_a_stop_whoever_reads(make_service: MakeService) -> None:
    """A reader that reads slowly is waited for no longer than SHUTDOWN_SECONDS allows."""
    service = make_service({"SHUTDOWN_SECONDS": "4"})
    await service.start()
    async with Crowd(service.port) as crowd:
        (one,) = await crowd.open(1)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(one, large_file())
        stopping = asyncio.create_task(service.terminate())
        while not stopping.done():
            try:
                await loop.sock_recv(one, 1000)
            except OSError:
                break
            await asyncio.sleep(0.02)
        assert await stopping in {0, -signal.SIGTERM}
