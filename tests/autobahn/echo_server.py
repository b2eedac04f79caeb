"""An echo server on the service's own WebSocket layer, for Autobahn's suite to judge.

The handshake, the framing, the closing and the writing are the service's; only what a
message does is replaced: it is sent back, text and binary alike. ``scripts/autobahn.sh``
runs the suite against it.

    python -m tests.autobahn.echo_server [PORT]

prints ``port N`` once it listens.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from aiohttp import web

from chatsvc.auth.principal import Principal
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.server.http.middleware import EXCHANGE, Exchange
from chatsvc.server.websocket import upgrade
from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.command_queue import CommandQueue
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.server.websocket.intake import Intake
from chatsvc.server.websocket.options import SocketOptions
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.rate_limit import RateLimit
from chatsvc.server.websocket.socket import Socket
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import frames
from testkit.authenticator import FakeAuthenticator

MAX_MESSAGE = 32 * 1024 * 1024
"""The suite sends messages of 16 MiB; the service's own bound is far lower."""


class _Binary(bytes):
    """A binary message's payload."""


class _EchoDecoder(frames.FrameDecoder):
    """Hands binary messages on as if they were text: the service would refuse them."""

    def feed(self, data: bytes, limit: int | None = None) -> list[frames.Event]:
        return [
            frames.Event(frames.TEXT, _Binary(event.payload))
            if event.opcode == frames.BINARY
            else event
            for event in super().feed(data, limit)
        ]


class EchoSocket(Socket):
    """Says no hello."""

    __slots__ = ()

    def begin(
        self,
        transport: asyncio.Transport,
        plan: Plan | None,
        answer: bytes = b"",
        request_id: str = "",
    ) -> None:
        self.transport = transport
        self.decoder = _EchoDecoder(MAX_MESSAGE)
        self._parts.registry.sockets.add(self)
        self.write(answer)


class EchoCommands(CommandQueue):
    """Sends back what it receives."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def run(self, socket: SocketState, payload: bytes) -> None:
        opcode = frames.BINARY if isinstance(payload, _Binary) else frames.TEXT
        self._answers.queue(socket, payload, opcode)


class NoRateLimit(RateLimit):
    """The suite sends messages in fragments of a few bytes, as fast as it can."""

    def charge(self, socket: SocketState, units: int) -> bool:
        return True


def echo_parts() -> SocketParts:
    """What the sockets ask for, without a log or a store behind it."""
    nothing = cast(Any, SimpleNamespace())
    hub = Hub()
    everybody = Principal(user="fuzzer", expires_at=int(time.time()) + 86_400)
    authenticator = FakeAuthenticator(lambda token: everybody, knows=True)
    parts = SocketParts(
        commands=CommandTable(connection_commands(authenticator)),
        options=SocketOptions(
            heartbeat_seconds=3600,
            stall_seconds=60,
            buffer_limit=4 * MAX_MESSAGE,
            max_frame=MAX_MESSAGE,
            max_content=MAX_MESSAGE,
            max_connections=100,
            max_connections_per_user=100,
            unacked_max=64,
            server_name="echo",
        ),
        hub=hub,
        tail=nothing,
        acknowledgements=Acknowledgements(),
        resumer=nothing,
        authenticator=authenticator,
        metrics=SimpleNamespace(socket_opened=lambda: None, socket_closed=lambda reason: None),
    )
    parts.intake = Intake(
        commands=EchoCommands(parts.answers),
        closing=parts.closing,
        rate=NoRateLimit(parts.closing),
        answers=parts.answers,
    )
    return parts


@web.middleware
async def exchange(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What the service's own middleware gives the handshake to write the user into."""
    request[EXCHANGE] = Exchange("echo")
    return await handler(request)


async def serve(port: int) -> None:
    """Until it is killed."""
    application = web.Application(middlewares=[exchange])
    application.router.add_get("/ws", upgrade.WebSocketEndpoint(echo_parts()))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    with mock.patch.object(upgrade, "Socket", EchoSocket):
        await site.start()
        print(f"port {runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
