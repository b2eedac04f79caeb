"""Sockets on transports in the test's hand, whose sends it answers itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from chatsvc.api.command import Command
from chatsvc.auth.principal import Authenticator, Principal
from chatsvc.core.limits import Limits
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan, Resumer
from chatsvc.features.messages import commands as messages_commands
from chatsvc.log.base import Appended
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.connection_commands import connection_commands
from chatsvc.server.websocket.options import SocketOptions
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from testkit.authenticator import FakeAuthenticator
from testkit.selecting import SELECTION
from tests.unit.support.fake_log import FakeLog, FakeRecords
from tests.unit.support.sockets import FakeTransport, attach, texts

_OPTIONS: dict[str, Any] = {
    "heartbeat_seconds": 30.0,
    "stall_seconds": 10.0,
    "buffer_limit": 1 << 20,
    "max_frame": 256 * 1024,
    "max_content": 16_000,
    "max_connections": 10,
    "max_connections_per_user": 10,
    "unacked_max": 4,
    "server_name": "test",
}


def _ten_minutes(token: str) -> Principal:
    return Principal(token, int(time.time()) + 600)


class Counts:
    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[str] = []

    def socket_opened(self) -> None:
        self.opened += 1

    def socket_closed(self, reason: str) -> None:
        self.closed.append(reason)


class World:
    """Sockets whose sends are answered when the test says so."""

    def __init__(
        self,
        commands: Sequence[Command] = (),
        authenticator: Authenticator | None = None,
        **options: Any,
    ) -> None:
        self.log = FakeLog()
        self.counts = Counts()
        self.origins: list[str] = []
        self.asked: list[tuple[str, asyncio.Future[Appended]]] = []
        self.next_future: Callable[[str], asyncio.Future[Appended]] = self.plain
        self.authenticator = FakeAuthenticator(_ten_minutes, knows=True)
        self.hub = Hub()
        resumer = Resumer(
            epoch="e",
            tail=self.log.tail,
            hub=self.hub,
            backfill=FakeRecords(self.log),
            selection=SELECTION,
            max_messages=100,
        )
        self.parts = SocketParts(
            commands=CommandTable(
                (
                    *messages_commands.commands(self, Limits()),
                    *connection_commands(authenticator or self.authenticator),
                    *commands,
                )
            ),
            options=SocketOptions(**(_OPTIONS | options)),
            hub=self.hub,
            tail=self.log.tail,
            acknowledgements=self.log.acknowledgements,
            resumer=resumer,
            authenticator=self.authenticator,
            metrics=self.counts,
        )
        self.registry = self.parts.registry

    def plain(self, content: str) -> asyncio.Future[Appended]:
        return asyncio.get_running_loop().create_future()

    def submit(
        self, sender: str, origin: str, participants: Any, content: str, *_: Any
    ) -> asyncio.Future[Appended]:
        self.origins.append(origin)
        future = self.next_future(content)
        self.asked.append((content, future))
        return future

    def open(
        self,
        user: str = "alice",
        plan: Plan | None = None,
        expires_in: float = 3600,
        principal: Principal | None = None,
        **options: Any,
    ) -> tuple[Socket, FakeTransport]:
        if principal is None:
            principal = Principal(user, int(time.time() + expires_in))
        values: dict[str, Any] = {"connection_id": "c1", "device": "phone", "echo": False}
        socket = Socket(self.parts, principal, **(values | options))
        transport = attach(socket)
        socket.begin(transport, plan)
        return socket, transport

    def beat(self, socket: Socket) -> None:
        self.parts.heartbeat.beat(socket)


def send(content: str) -> bytes:
    frame = {"type": "send", "ref": content, "participants": ["alice"], "content": content}
    return client_frame(frames.TEXT, json.dumps(frame).encode())


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
