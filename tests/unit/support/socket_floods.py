"""Floods into one socket, as the event loop would read them."""

from __future__ import annotations

import asyncio
from typing import Final

from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from tests.unit.support.socket_world import last_frame
from tests.unit.support.sockets import FakeTransport

PING: Final = client_frame(frames.PING)
JSON_PING: Final = client_frame(frames.TEXT, b'{"type":"ping"}')
EMPTY_TEXT: Final = client_frame(frames.TEXT)
AUTH: Final = client_frame(frames.TEXT, b'{"type":"auth","token":"junk"}')
READ: Final = 256_000
"""The maximum of bytes of one read."""


def pongs(transport: FakeTransport) -> int:
    return transport.wire.count(b"\x8a\x00")


def closed(transport: FakeTransport) -> int:
    """The code of the close frame that is the last that was written; 0 if there is none."""
    opcode, payload = last_frame(transport)
    return int.from_bytes(payload[:2], "big") if opcode == 8 else 0


async def feed(transport: FakeTransport, data: bytes, max_bytes: int = READ) -> int:
    """As the loop would, while the socket is read; how many bytes it took."""
    taken = 0
    async with asyncio.timeout(10):
        while taken < len(data) and not transport.is_closing():
            if transport.reading:
                piece = data[taken : taken + max_bytes]
                taken += len(piece)
                transport.connection.data_received(piece)  # type: ignore[attr-defined]
            elif closed(transport):
                break
            await asyncio.sleep(0)
    return taken


async def settled(socket: Socket) -> None:
    """Until nothing is left to run."""
    async with asyncio.timeout(10):
        while socket.turn_due or socket.outbox is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
