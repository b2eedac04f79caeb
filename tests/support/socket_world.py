"""Sockets on transports in the test's hand, in a context whose sends it answers itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from chatsvc.auth.principal import Principal
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan, Resumer
from chatsvc.log.base import Appended
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import frames
from tests.support.fake_log import FakeHistory, FakeLog
from tests.support.sockets import FakeTransport, attach, texts
from tests.support.talking import masked


class Counts:
    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[str] = []

    def socket_opened(self) -> None:
        self.opened += 1

    def socket_closed(self, reason: str) -> None:
        self.closed.append(reason)


class World:
    """A context whose sends are answered when the test says so."""

    def __init__(self, **settings: Any) -> None:
        self.log = FakeLog()
        self.counts = Counts()
        self.origins: list[str] = []
        self.asked: list[tuple[str, asyncio.Future[Appended]]] = []
        self.next_future: Callable[[str], asyncio.Future[Appended]] = self.plain
        hub = Hub()
        values: dict[str, Any] = {
            "hub": hub,
            "tail": self.log.tail,
            "acknowledgements": self.log.acknowledgements,
            "resumer": Resumer(
                epoch="e",
                tail=self.log.tail,
                hub=hub,
                backfill=FakeHistory(self.log),  # type: ignore[arg-type]
                max_messages=100,
            ),
            "submit": self.submit,
            "authenticate": lambda token: Principal(token, int(time.time()) + 600),
            "metrics": self.counts,
            "server_name": "test",
            "heartbeat_seconds": 30.0,
            "stall_seconds": 10.0,
            "buffer_limit": 1 << 20,
            "max_frame": 256 * 1024,
            "max_content": 16_000,
            "max_connections": 10,
            "max_connections_per_user": 10,
            "unacked_max": 4,
        }
        self.context = SocketContext(**(values | settings))

    def plain(self, content: str) -> asyncio.Future[Appended]:
        return asyncio.get_running_loop().create_future()

    def submit(self, *, content: str, origin: str, **_: Any) -> asyncio.Future[Appended]:
        self.origins.append(origin)
        future = self.next_future(content)
        self.asked.append((content, future))
        return future

    def open(
        self,
        user: str = "alice",
        plan: Plan | None = None,
        expires_in: float = 3600,
        **options: Any,
    ) -> tuple[Socket, FakeTransport]:
        principal = Principal(user, int(time.time() + expires_in))
        values: dict[str, Any] = {"connection_id": "c1", "device": "phone", "echo": False}
        socket = Socket(self.context, principal, **(values | options))
        transport = attach(socket)
        socket.begin(transport, plan)
        return socket, transport


def send(content: str) -> bytes:
    frame = {"type": "send", "ref": content, "participants": ["alice"], "content": content}
    return masked(frames.TEXT, json.dumps(frame).encode())


def kinds(transport: FakeTransport) -> list[str]:
    return [frame.get("ref") or frame["type"] for frame in texts(transport.wire)]


def last_frame(transport: FakeTransport) -> tuple[int, bytes]:
    """Opcode and payload of a short frame at the very end."""
    wire = bytes(transport.wire)
    for at in range(len(wire) - 127, len(wire) - 1):
        if at >= 0 and wire[at] == 0x88 and at + 2 + wire[at + 1] == len(wire):
            return 8, wire[at + 2 :]
    return 0, b""


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
