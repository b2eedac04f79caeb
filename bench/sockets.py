"""WebSocket clients of very low cost that count frames.

All frames of a run have the same size, so that lengths give their number. The raw client of
the test suites (``testkit/raw_socket.py``) decodes each frame, which would cost the driver more
than a frame costs the server that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import cast

from bench.processes import Failed

_HEAD_END = b"\r\n\r\n"
_OPEN_SECONDS = 30.0
_TEXT = 0x81
_ZERO_MASK = b"\0\0\0\0"


def handshake(path: str, headers: dict[str, str]) -> bytes:
    """Return the bytes of an opening handshake (RFC 6455 §4.1)."""
    key = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def text_frame(payload: bytes) -> bytes:
    """Return a client's text frame with a zero mask, so that it contains the payload as it is.

    Unmasking it costs the server the same as with any other mask.
    """
    size = len(payload)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 65536:
        head = bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x81, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + _ZERO_MASK + payload


def frame_size(data: bytes | bytearray, start: int = 0) -> int:
    """Return the size of the server frame that begins at ``start``; 0 if not known yet."""
    if len(data) < start + 2:
        return 0
    size = data[start + 1]
    if size < 126:
        return 2 + size
    wide = 2 if size == 126 else 8
    if len(data) < start + 2 + wide:
        return 0
    return 2 + wide + int.from_bytes(data[start + 2 : start + 2 + wide], "big")


class FrameCounter:
    """Counts text frames of one size in the bytes of a server; others are skipped.

    Args:
        size: the size of the whole frame; 0 for that of the first text frame.
    """

    __slots__ = ("_rest", "count", "size")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.count = 0
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """Return how many frames ``data`` completes."""
        before = self.count
        size = self.size
        if size and not self._rest and len(data) % size == 0 and frame_size(data) == size:
            self.count += len(data) // size  # the usual case: whole frames, all alike
        else:
            self._rest = self._walk(self._rest + data)
        return self.count - before

    def _walk(self, data: bytes) -> bytes:
        at = 0
        while (size := frame_size(data, at)) and at + size <= len(data):
            if data[at] == _TEXT:
                self.size = self.size or size
                self.count += size == self.size
            at += size
        return data[at:]


class Client(asyncio.Protocol):
    """A WebSocket client from its handshake on.

    Args:
        opening: the handshake's bytes.
        sends_hello: whether the server sends a first frame of its own, which is not counted.
        received: called with the number of new frames each time.
    """

    __slots__ = (
        "_buffer",
        "_opening",
        "_received",
        "_sends_hello",
        "counter",
        "opened",
        "transport",
    )

    def __init__(
        self, opening: bytes, *, sends_hello: bool, received: Callable[[int], None] | None = None
    ) -> None:
        self._opening = opening
        self._sends_hello = sends_hello
        self._received = received
        self._buffer: bytes | None = b""
        self.counter = FrameCounter()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        if self._buffer is not None:
            data = self._open(data)
            if not data:
                return
        count = self.counter.feed(data)
        if count and self._received is not None:
            self._received(count)

    def _open(self, data: bytes) -> bytes:
        """Return what follows the handshake and ``hello``."""
        assert self._buffer is not None
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return b""
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(Failed(f"no upgrade: {self._buffer[:400]!r}"))
            self.transport.close()
            return b""
        at = end + len(_HEAD_END)
        if self._sends_hello:
            size = frame_size(self._buffer, at)
            if not size or len(self._buffer) < at + size:
                return b""
            at += size
        rest, self._buffer = self._buffer[at:], None
        self.opened.set_result(None)
        return rest

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or Failed("closed during the handshake"))


async def open_client(
    port: int, opening: bytes, *, sends_hello: bool, received: Callable[[int], None] | None = None
) -> Client:
    """Open a socket.

    Raises:
        Failed: the upgrade was refused.
    """
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(opening, sends_hello=sends_hello, received=received), "127.0.0.1", port
    )
    async with asyncio.timeout(_OPEN_SECONDS):
        await client.opened
    return client
