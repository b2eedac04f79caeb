"""Requests that do not come to their end, without a token."""

from __future__ import annotations

import asyncio

import pytest

from bench.attacks import Crowd, answer, resident, unfinished_head, watched
from bench.http_load import request
from testkit.service import MakeService, token
from tests.hostile.conftest import eventually, honest

MIB = 1024 * 1024
BEGUN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def test_many_large_heads_that_do_not_end(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    before = resident(service.pid)
    async with (
        honest(service) as others,
        watched(service.pid) as most,
        Crowd(service.port) as crowd,
    ):
        await crowd.open(300)
        for part in unfinished_head():
            if not await crowd.send(part):
                break  # all of them were refused
        await eventually(lambda: crowd.closed() == 300)
        await eventually(lambda: others.answered > 50)
    assert most() - before < 150 * MIB
    assert not others.failures


async def test_heads_that_drip_have_ten_seconds(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    async with honest(service) as others, Crowd(service.port) as crowd:
        await crowd.open(100)
        silent = len(crowd.sockets)
        await crowd.send(BEGUN)
        await crowd.open(20)  # who say nothing at all

        async def drip() -> None:
            while True:
                await asyncio.gather(
                    *[
                        asyncio.get_running_loop().sock_sendall(one, b"X-Filler: 1\r\n")
                        for one in crowd.sockets[:silent]
                    ],
                    return_exceptions=True,
                )
                await asyncio.sleep(0.5)

        dripping = asyncio.create_task(drip())
        await eventually(lambda: crowd.closed() == 120)
        dripping.cancel()
        await asyncio.wait([dripping])
        assert not others.failures


@pytest.mark.parametrize(
    "large",
    [
        pytest.param(b"X-Filler: " + b"x" * 16_000 + b"\r\n", id="few large fields"),
        pytest.param(b"X: y\r\n" * 1000, id="many small fields"),
    ],
)
async def test_a_head_in_one_piece_is_bounded_too(make_service: MakeService, large: bytes) -> None:
    service = make_service()
    await service.start()
    head = BEGUN + large * (70_000 // len(large) + 1) + b"\r\n"
    status, _, body = await answer(service.port, head)
    assert status == 431
    assert b"headers_too_large" in body


async def test_trailers_are_bounded(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    bearer = {"Authorization": f"Bearer {token('alice')}"}
    chunked = request(
        "POST",
        "/api/messages",
        bearer | {"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
    )
    before = resident(service.pid)
    async with watched(service.pid) as most, Crowd(service.port) as crowd:
        await crowd.open(100)
        await crowd.send(chunked + b"1\r\n{\r\n0\r\n")
        for number in range(100):
            if not await crowd.send(b"X-Filler-%03d: " % number + b"x" * 16_000 + b"\r\n"):
                break
        await eventually(lambda: crowd.closed() == 100)
    assert most() - before < 100 * MIB


async def test_requests_in_a_row_are_not_all_taken_in(make_service: MakeService) -> None:
    """Whoever sends requests and reads no answers is not read for long."""
    service = make_service({"SOCKET_STALL_SECONDS": "3"})
    await service.start()
    one = request("GET", "/docs/swagger-ui-bundle.js", {"X-Filler": "x" * 16_000})
    before = resident(service.pid)
    async with watched(service.pid) as most, Crowd(service.port) as crowd:
        await crowd.open(50)
        await crowd.send(one * 500, seconds=2)
        await eventually(lambda: crowd.closed() == 50)
    assert most() - before < 150 * MIB


async def test_bodies_that_do_not_arrive_keep_nobody_out(make_service: MakeService) -> None:
    """On the one route that takes a body without a token; more of them than connections fit."""
    service = make_service({"MAX_HTTP_CONNECTIONS": "100"})
    await service.start()
    begun = request("POST", "/api/connections", {}, b" " * 100_000)
    begun = begun[: begun.index(b"\r\n\r\n") + 5]
    async with honest(service) as others, Crowd(service.port) as crowd:
        for _ in range(4):
            await crowd.open(60)
            await crowd.send(begun)
        asked = others.answered
        await eventually(lambda: others.answered > asked + 20)
        await eventually(lambda: crowd.closed() >= 100)
    assert not others.failures
