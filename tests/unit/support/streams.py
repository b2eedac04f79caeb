"""A service whose one feature streams what a test says, and a raw exchange with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chatsvc.api.access import USER
from chatsvc.api.body import Parts, StreamedBody, StreamedReply
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.server.http.application import ServerOptions, build_application
from testkit.authenticator import FakeAuthenticator, named_by_token
from tests.unit.support.http_service import Client, HttpService, running

HEAD = "Host: x\r\nAuthorization: Bearer token-of-alice\r\nContent-Type: image/png\r\n"
LAST = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""A request behind another, whose answer ends the connection."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No parameter."""


class Total(msgspec.Struct, kw_only=True):
    """How much arrived."""

    total: int


async def _sum(caller: Any, request: Nothing, body: Parts) -> Reply:
    return Reply(200, Total(total=sum([len(part) async for part in body])))


async def _unread(caller: Any, request: Nothing, body: Parts) -> Reply:
    return Reply(200, Total(total=0))


async def _echo(caller: Any, request: Nothing, body: Parts) -> Reply:
    return Reply(200, StreamedReply(body, "image/png"))


def streaming(
    parts: Callable[[], Parts],
    *,
    status: int = 200,
    media_type: str = "image/png",
    length: int | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 50_000_000,
) -> Feature:
    """GET /api/file answers ``parts``; PUT /api/sum, /api/unread and /api/echo take a body."""

    async def get(caller: Any, request: Nothing) -> Reply:
        return Reply(status, StreamedReply(parts(), media_type, length), headers)

    common: dict[str, Any] = {"access": USER, "request": Nothing, "summary": "Files"}
    put = common | {"method": "PUT", "stream": StreamedBody(("image/png",), max_bytes)}
    total, file = {200: ("Done.", Total)}, {200: ("The file.", ("image/png",))}
    return Feature(
        name="files",
        operations=(
            Operation(
                name="get", method="GET", path="/api/file", responses=file, handler=get, **common
            ),
            Operation(name="sum", path="/api/sum", responses=total, handler=_sum, **put),
            Operation(name="unread", path="/api/unread", responses=total, handler=_unread, **put),
            Operation(name="echo", path="/api/echo", responses=file, handler=_echo, **put),
        ),
    )


def service_of(
    offered: Feature, *, server: ServerOptions | None = None, **options: Any
) -> HttpService:
    """The feature over HTTP, not started."""
    service = HttpService(**options)
    service.application = build_application(
        features=[offered],
        commands=service.commands,
        authenticator=FakeAuthenticator(named_by_token),
        limits=service.limits,
        health_report=lambda: service.health,
        metrics=service.metrics,
        options=server or ServerOptions(version="0"),
    )
    return service


@asynccontextmanager
async def serving(offered: Feature, **options: Any) -> AsyncIterator[Client]:
    """The feature, served on a port."""
    async with running(service_of(offered, **options)) as client:
        yield client


async def exchange(port: int, data: bytes) -> tuple[bytes, str]:
    """What the server sends up to the end of the connection: ``end`` or ``reset``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        async with asyncio.timeout(20):
            writer.write(data)
            while part := await reader.read(1 << 16):
                received += part
    except ConnectionError:
        return received, "reset"
    finally:
        writer.transport.abort()
    return received, "end"


def asking(version: str = "1.1", *, last: bool = False) -> bytes:
    """A request for the file. ``last``: its answer ends the connection."""
    close = "Connection: close\r\n" if last else ""
    return f"GET /api/file HTTP/{version}\r\n{HEAD}{close}\r\n".encode()


async def some(*parts: bytes) -> AsyncIterator[bytes]:
    """The parts of a body."""
    for part in parts:
        yield part
