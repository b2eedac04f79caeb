"""Plain connections: half-closed ones, those that are lost, and what becomes of their memory."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.http.responses import ReadyResponse
from testkit.waiting import until
from tests.unit.support.http_service import Client, HttpService, running
from tests.unit.support.loops import on_both_loops

BEARER = b"Host: localhost\r\nAuthorization: Bearer token-of-alice\r\n"
LARGE = 8_000_000


def post(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return (
        b"POST /api/messages HTTP/1.1\r\n" + BEARER
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size + body
    )  # fmt: skip


BODY = b'{"participants":["alice"],"content":"hello"}'


async def everything(client: Client, *sent: bytes, pause: float = 0.0) -> bytes:
    """Write, close our half, read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


@on_both_loops
async def test_a_client_that_closed_its_half_gets_its_answer() -> None:
    async with running(HttpService()) as client:
        answer = await everything(client, post(BODY))
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["content"] == "hello"


@on_both_loops
async def test_it_gets_all_of_its_answers() -> None:
    async with running(HttpService()) as client:
        for count in (2, 5, 40):
            answers = await everything(client, post(BODY) * count)
            assert answers.count(b"HTTP/1.1 201 ") == count


@on_both_loops
async def test_it_gets_an_answer_that_takes_its_time() -> None:
    gate = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return ReadyResponse(200, b"x" * LARGE)

    async with running(HttpService(extra_routes=[web.get("/slow", slow)])) as client:
        reading = asyncio.ensure_future(
            everything(client, b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        )
        server = client.service.server
        assert server is not None
        await until(lambda: any(one._half_closed for one in server.connections))
        gate.set()
        assert (await reading).endswith(b"x" * LARGE)


@on_both_loops
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_half_closed_without_a_request_it_is_closed(sent: bytes) -> None:
    async with running(HttpService()) as client:
        assert await everything(client, sent) == b""


@on_both_loops
async def test_half_closed_within_a_body_it_is_told() -> None:
    async with running(HttpService()) as client:
        answer = await everything(client, post(BODY, len(BODY) + 10))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"bad_body"' in answer


def within_a_body(service: HttpService) -> bool:
    assert service.server is not None
    return any(
        isinstance(one, BoundedConnection) and one._body is not None
        for one in service.server.connections
    )


@asynccontextmanager
async def lost(client: Client, sent: bytes) -> AsyncIterator[socket.socket]:
    """A connection that ends with a reset, when the block does."""
    loop = asyncio.get_running_loop()
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setblocking(False)
    await loop.sock_connect(one, ("127.0.0.1", client.service.port))
    await loop.sock_sendall(one, sent)
    yield one
    if one.fileno() < 0:
        return
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


@on_both_loops
async def test_a_client_that_leaves_within_a_body_is_no_error_of_ours() -> None:
    service = HttpService()
    with capture_logs() as lines:
        async with running(service) as client:
            async with lost(client, post(BODY, 1000)):
                await until(lambda: within_a_body(service))
            await until(lambda: b'status="499"' in service.metrics.render())
    assert b'status="500"' not in service.metrics.render()
    assert [line["log_level"] for line in lines if line["event"] == "request"] == ["info"]
    assert not [line for line in lines if line["log_level"] in ("error", "warning")]


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The service tells the collector to rest: what is freed is freed by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@on_both_loops
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("how", ["reset", "closed", "cut off"])
async def test_an_answer_is_freed_when_its_reader_is_gone(how: str) -> None:
    answers: list[weakref.ref[ReadyResponse]] = []

    async def large(request: web.Request) -> web.StreamResponse:
        response = ReadyResponse(200, b"x" * LARGE)
        answers.append(weakref.ref(response))
        return response

    service = HttpService(
        extra_routes=[web.get("/large", large)], stall_seconds=0.2 if how == "cut off" else 600
    )
    async with running(service) as client:
        async with lost(client, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n") as one:
            await until(lambda: answers)
            assert answers[0]() is not None
            if how == "closed":
                one.close()
            if how == "cut off":
                await until(lambda: answers[0]() is None)
                return
            await asyncio.sleep(0)
        await until(lambda: answers[0]() is None)


@on_both_loops
@pytest.mark.usefixtures("no_collector")
async def test_a_body_is_freed_when_its_sender_is_gone() -> None:
    service = HttpService()
    async with running(service) as client:
        async with lost(client, post(BODY, 1000)):
            await until(lambda: within_a_body(service))
            assert service.server is not None
            [connection] = service.server.connections
            assert connection._current_request is not None
            request = weakref.ref(connection._current_request)
            del connection
        await until(lambda: request() is None)
