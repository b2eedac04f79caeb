"""The minimal server: a uvloop protocol that writes ready bytes, one system call per socket.

It parses no more of HTTP than it must and builds each frame once. What any server in
Python takes above this is what it does besides writing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from typing import cast

import uvloop

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"sec-websocket-key: *([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_sockets: set[asyncio.Transport] = set()


def frame(body: bytes) -> bytes:
    """Return a text frame."""
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 65536:
        return bytes((0x81, 126)) + size.to_bytes(2, "big") + body
    return bytes((0x81, 127)) + size.to_bytes(8, "big") + body


class Bare(asyncio.Protocol):
    """A connection, HTTP or WebSocket."""

    __slots__ = ("_buffer", "_transport")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            self._answer(head, rest[:size])
            self._buffer = rest[size:]

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /ws"):
            key = _KEY.search(head)
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            _sockets.add(self._transport)
            return
        if head.startswith(b"GET /page"):
            body = b"x" * int(head.split(b"bytes=", 1)[1].split(b" ", 1)[0])
        else:
            data = frame(body)
            for transport in _sockets:
                transport.write(data)
        start = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(start + body)

    def connection_lost(self, exc: Exception | None) -> None:
        _sockets.discard(self._transport)


async def serve() -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", int(os.environ["PORT"]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
