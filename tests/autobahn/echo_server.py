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
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import frames

MAX_MESSAGE = 32 * 1024 * 1024
"""The suite sends messages of 16 MiB; the service's own bound is far lower."""


class _Binary(bytes):
    """A binary message's payload."""


class _EchoDecoder(frames.FrameDecoder):
    """Hands binary messages on as if they were text: the service would refuse them."""

    def feed(self, data: bytes, limit: int | None = None) -> list[frames.Event]:
        return [
            event._replace(opcode=frames.TEXT, payload=_Binary(event.payload))
            if event.opcode == frames.BINARY
            else event
            for event in super().feed(data, limit)
        ]


class EchoSocket(Socket):
    """Says no hello, sends back what it receives, and has no bound on its rate."""

    __slots__ = ()

    def begin(
        self,
        transport: asyncio.Transport,
        plan: Plan | None,
        answer: bytes = b"",
        request_id: str = "",
    ) -> None:
        self.transport = transport
        self._decoder = _EchoDecoder(MAX_MESSAGE)
        self._context.sockets.add(self)
        self.write(answer)

    def receive_text(self, payload: bytes) -> None:
        opcode = frames.BINARY if isinstance(payload, _Binary) else frames.TEXT
        self.reply(payload, opcode)

    def charge(self, units: int) -> bool:
        """The suite sends messages in fragments of a few bytes, as fast as it can."""
        return True


def context() -> SocketContext:
    """What the sockets ask for, without a log or a store behind it."""
    nothing = cast(Any, SimpleNamespace())
    return SocketContext(
        hub=Hub(),
        tail=nothing,
        acknowledgements=Acknowledgements(),
        resumer=nothing,
        submit=nothing,
        authenticate=lambda token: Principal(user="fuzzer", expires_at=int(time.time()) + 86_400),
        metrics=SimpleNamespace(socket_opened=lambda: None, socket_closed=lambda reason: None),
        server_name="echo",
        heartbeat_seconds=3600,
        stall_seconds=60,
        buffer_limit=4 * MAX_MESSAGE,
        max_frame=MAX_MESSAGE,
        max_content=MAX_MESSAGE,
        max_connections=100,
        max_connections_per_user=100,
        unacked_max=64,
    )


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
    application.router.add_get("/ws", upgrade.WebSocketEndpoint(context()))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    with mock.patch.object(upgrade, "Socket", EchoSocket):
        await site.start()
        print(f"port {runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
