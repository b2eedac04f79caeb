"""What the program relies on in aiohttp is there and means what it is taken for."""

from __future__ import annotations

import asyncio
import inspect
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from chatsvc.server import aiohttp_internals as internals
from chatsvc.server.aiohttp_internals import OpenRequestHandler
from testkit.waiting import until

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
ROOT = Path(__file__).resolve().parents[3]


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.closed = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class World:
    """A server whose handler waits for the test, with one connection of it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.requests: list[web.BaseRequest] = []
        self.server = web.Server(self.handle, keepalive_timeout=75.0)
        self.wire = Wire()
        options = internals.handler_options(self.server)
        self.handler = OpenRequestHandler(self.server, **options)
        self.handler.connection_made(self.wire)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        await self.gate.wait()
        return web.Response(text="answered")

    def get(self, *numbers: int) -> None:
        self.handler.data_received(b"".join(GET % number for number in numbers))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await asyncio.sleep(0)
    yield world
    world.gate.set()
    if world.handler.transport is not None:
        world.handler.connection_lost(None)
    await world.server.shutdown(1)


def test_the_installed_version_is_one_that_was_checked() -> None:
    """A new minor version of aiohttp is admitted when the tests of this file pass with it."""
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = [one for one in needs if one.startswith("aiohttp")]
    major, minor = map(int, aiohttp.__version__.split(".")[:2])
    assert bound.startswith(f"aiohttp>={major}.{minor}.")
    assert bound.endswith(f",<{major}.{minor + 1}")


@pytest.mark.parametrize(
    "name",
    ["event_loop", "request_count", "queued", "close_after", "force_closed", "upgraded", "tail",
     "reading_paused"],
)  # fmt: skip
def test_the_names_of_a_connection_are_slots(name: str) -> None:
    assert inspect.ismemberdescriptor(inspect.getattr_static(OpenRequestHandler, name))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("handle_error", ["self", "request", "status", "exc", "message"]),
        ("finish_response", ["self", "request", "resp", "start_time"]),
        ("log_exception", ["self", "args", "kw"]),
        ("data_received", ["self", "data"]),
        ("eof_received", ["self"]),
        ("resume_reading", ["self", "resume_parser"]),
        ("_drain_helper", ["self"]),
    ],
)
def test_the_methods_that_are_overridden_are_those_of_aiohttp(
    name: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(RequestHandler, name)).parameters) == parameters


async def test_heads_are_counted_and_wait_in_order(world: World) -> None:
    handler = world.handler
    assert handler.event_loop is asyncio.get_running_loop()
    assert (handler.request_count, len(handler.queued)) == (0, 0)
    world.get(1, 2, 3)
    await until(lambda: len(world.requests) == 1)
    assert handler.request_count == 3
    paths = [head.path for head, _ in handler.queued if isinstance(head, RawRequestMessage)]
    assert paths == ["/2", "/3"]
    assert all(body.is_eof() for _, body in handler.queued)
    assert internals.head_of(world.requests[0]).path == "/1"


async def test_a_full_queue_pauses_reading_until_half_of_it_is_answered(world: World) -> None:
    internals.bound_queue(world.handler, 4)
    world.get(1)
    await until(lambda: len(world.requests) == 1)
    world.get(2, 3, 4)
    assert world.wire.reading
    world.get(5)
    assert not world.wire.reading
    world.gate.set()
    await until(lambda: len(world.requests) == 5)
    assert world.wire.reading


async def test_a_connection_waits_when_there_is_nothing_to_answer(world: World) -> None:
    handler, loop = world.handler, asyncio.get_running_loop()
    assert internals.is_waiting(handler)
    world.get(1)
    assert not internals.is_waiting(handler)
    await until(lambda: len(world.requests) == 1)
    assert not internals.is_waiting(handler)
    before = loop.time()
    world.gate.set()
    await until(lambda: internals.is_waiting(handler))
    assert before - 1 <= internals.waiting_since(handler) <= loop.time() + 1


async def test_close_after_ends_the_connection_behind_its_answer(world: World) -> None:
    world.get(1)
    await until(lambda: len(world.requests) == 1)
    assert not world.handler.close_after
    world.handler.close_after = True
    world.gate.set()
    await until(lambda: world.wire.closed)
    assert b"answered" in world.wire.sent


async def test_close_and_force_close_set_what_is_looked_at(world: World) -> None:
    world.handler.close()
    assert world.handler.close_after
    assert not world.handler.force_closed
    world.handler.force_close()
    assert world.handler.force_closed
    assert world.wire.closed


async def test_an_error_is_answered_in_its_turn(world: World) -> None:
    errors: list[Any] = []

    def handle_error(
        request: web.BaseRequest, status: int = 500, exc: Any = None, message: Any = None
    ) -> web.StreamResponse:
        errors.append((status, exc, message))
        return web.Response(status=418)

    class Noting(OpenRequestHandler):
        """Not slotted: its methods can be replaced."""

    handler = Noting(world.server, **internals.handler_options(world.server))
    handler.handle_error = handle_error  # type: ignore[method-assign]
    wire = Wire()
    handler.connection_made(wire)
    await asyncio.sleep(0)
    handler.data_received(GET % 1)
    internals.stop_parsing(handler)
    error = HttpProcessingError(code=418, message="it is a teapot")
    internals.queue_error(handler, error)
    assert handler.request_count == 2
    world.gate.set()
    await until(lambda: b"418" in wire.sent)
    assert wire.sent.index(b"answered") < wire.sent.index(b"418")
    assert errors == [(400, error, "it is a teapot")]
    handler.connection_lost(None)


async def test_a_handshake_is_released_with_what_came_behind_it(world: World) -> None:
    handler = world.handler
    world.handler.data_received(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"
    )
    await until(lambda: len(world.requests) == 1)
    assert handler.upgraded
    assert handler.tail == b"early"
    assert list(internals.connections_of(world.server)) == [handler]
    (request,) = world.requests
    assert isinstance(request, web.BaseRequest)
    taker = asyncio.Protocol()
    assert internals.release(request, taker) == (world.wire, b"early")  # type: ignore[arg-type]
    assert world.wire.protocol is taker
    assert handler.transport is None
    assert not world.wire.closed
    world.gate.set()
    await until(lambda: not internals.connections_of(world.server))
    assert world.wire.sent == b"", "aiohttp writes nothing to it any more"


async def test_reading_is_said_to_be_paused_when_a_body_is_not_taken(world: World) -> None:
    world.handler.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart")
    assert not world.handler.reading_paused
    world.handler.pause_reading()
    assert world.handler.reading_paused
    assert not world.wire.reading
    world.handler.resume_reading()
    assert not world.handler.reading_paused


async def test_writing_waits_while_the_transport_is_full_and_fails_when_it_is_gone(
    world: World,
) -> None:
    handler = world.handler
    await asyncio.wait_for(handler._drain_helper(), 10)
    handler.pause_writing()
    waiting = asyncio.create_task(handler._drain_helper())
    await asyncio.sleep(0)
    assert not waiting.done()
    handler.resume_writing()
    await asyncio.wait_for(waiting, 10)
    handler.connection_lost(None)
    with pytest.raises(aiohttp.ClientConnectionResetError):
        await handler._drain_helper()


async def test_a_head_with_another_target(world: World) -> None:
    world.get(1)
    await until(lambda: len(world.requests) == 1)
    head = internals.head_of(world.requests[0])
    headers = CIMultiDictProxy(CIMultiDict({"Host": "b"}))
    url = URL.build(path="/x", encoded=True)
    changed = internals.with_target(head, path="/x", url=url, headers=headers)
    assert (changed.path, changed.url, changed.headers["Host"]) == ("/x", url, "b")
    assert (changed.method, changed.version) == (head.method, head.version)
    assert head.path == "/1"


async def test_a_runner_uses_the_server_that_it_is_given() -> None:
    made: list[web.Server] = []

    class Runner(internals.OpenRunner):
        def replace_server(self, usual: web.Server) -> web.Server:
            options = internals.handler_options(usual)
            assert options["loop"] is asyncio.get_running_loop()
            assert options["keepalive_timeout"] == 7.0
            made.append(web.Server(usual.request_handler, **options))
            return made[0]

    runner = Runner(web.Application(), keepalive_timeout=7.0)
    await runner.setup()
    assert runner.server is made[0]
    await runner.cleanup()


async def test_the_task_of_a_connection_is_there_until_it_has_ended(world: World) -> None:
    await asyncio.sleep(0)
    world.get(1)
    await until(lambda: len(world.requests) == 1)
    (task,) = internals.handler_tasks(world.server)
    task.cancel()
    await asyncio.wait({task})
    assert internals.handler_tasks(world.server) == set()
