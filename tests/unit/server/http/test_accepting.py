"""Accepting stops where there is no limits, and goes on when there is."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.server.http.accepting import AcceptingSite, accept_on
from chatsvc.server.http.connection_limits import ConnectionLimits
from chatsvc.server.http.protocol import ProblemRunner
from testkit.waiting import until
from tests.unit.support.http_service import HttpService
from tests.unit.support.loops import on_both_loops

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


class Listener:
    """A listening socket whose next accepts fail as told."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.errors: list[int] = []
        self.tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "as told")
        return self.real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class World:
    def __init__(self, listener: Listener, site: AcceptingSite, runner: ProblemRunner) -> None:
        self.listener = listener
        self.site = site
        self.server = runner.problem_server
        self.port = listener.real.getsockname()[1]
        self.sockets = 0


@asynccontextmanager
async def accepting(limits: ConnectionLimits) -> AsyncIterator[World]:
    service = HttpService()
    runner = ProblemRunner(service.application, observe=service.metrics.requests.observe)
    await runner.setup()
    real = socket.create_server(("127.0.0.1", 0))
    real.setblocking(False)
    listener = Listener(real)
    worlds: list[World] = []
    [site] = await accept_on(
        runner,
        [listener],  # type: ignore[list-item]
        sockets=lambda: worlds[0].sockets if worlds else 0,
        limits=limits,
    )
    worlds.append(World(listener, site, runner))
    try:
        yield worlds[0]
    finally:
        await runner.cleanup()
    assert real.fileno() == -1


async def ask(world: World) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    try:
        writer.write(LIVE)
        return await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    finally:
        writer.close()


@on_both_loops
async def test_requests_are_answered() -> None:
    async with accepting(ConnectionLimits()) as world:
        for _ in range(5):
            assert await ask(world) == b"HTTP/1.1 200 OK\r\n"
        await until(lambda: world.server.open == 0)
        assert world.site.pauses == 0


@on_both_loops
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_running_out_pauses_and_is_said_once(number: int) -> None:
    async with accepting(ConnectionLimits()) as world:
        world.listener.errors = [number] * 3
        with capture_logs() as lines:
            assert await ask(world) == b"HTTP/1.1 200 OK\r\n"
        assert world.site.pauses == 3
        assert world.listener.tries < 10
        [line] = [line for line in lines if line["event"] == "accept_paused"]
        assert line["reason"] == errno.errorcode[number]


@on_both_loops
@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EINTR, errno.EPROTO])
async def test_errors_of_the_new_connection_are_passed_over(number: int) -> None:
    async with accepting(ConnectionLimits()) as world:
        world.listener.errors = [number]
        assert await ask(world) == b"HTTP/1.1 200 OK\r\n"
        assert world.site.pauses == 0


@on_both_loops
async def test_websockets_count_towards_the_total_and_clients_wait() -> None:
    async with accepting(ConnectionLimits(total=10)) as world:
        world.sockets = 10
        asking = asyncio.ensure_future(ask(world))
        await until(lambda: world.site.pauses)
        assert not asking.done()
        world.sockets = 9
        assert await asking == b"HTTP/1.1 200 OK\r\n"


@on_both_loops
async def test_a_connection_that_closes_makes_room_at_once() -> None:
    async with accepting(ConnectionLimits(plain=1)) as world:
        _, first = await asyncio.open_connection("127.0.0.1", world.port)
        await until(lambda: world.server.open == 1)
        asking = asyncio.ensure_future(ask(world))
        await until(lambda: world.site.pauses)
        first.close()
        assert await asking == b"HTTP/1.1 200 OK\r\n"


@on_both_loops
async def test_one_that_is_idle_gives_way() -> None:
    async with accepting(ConnectionLimits(plain=2)) as world:
        idle = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(2)]
        await until(lambda: world.server.open == 2)
        assert await ask(world) == b"HTTP/1.1 200 OK\r\n"
        assert world.server.watch.closed_for_capacity >= 1
        for _, writer in idle:
            writer.close()


@on_both_loops
async def test_an_address_beyond_its_bound_is_told() -> None:
    async with accepting(ConnectionLimits(per_address=2, count_private=True)) as world:
        others = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(2)]
        await until(lambda: world.server.open == 2)
        with capture_logs() as lines:
            for _ in range(3):
                assert await ask(world) == b"HTTP/1.1 429 Too Many Requests\r\n"
        assert [line["event"] for line in lines].count("address_refused") == 1
        assert world.site.refused == 3
        others[0][1].close()
        await until(lambda: world.server.open == 1)
        assert await ask(world) == b"HTTP/1.1 200 OK\r\n"
        others[1][1].close()
        await until(lambda: not world.server.by_address)
