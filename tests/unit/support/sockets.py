"""A transport that a test holds in its hand: it takes bytes, and drains when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from chatsvc.delivery.connection import HIGH_WATER, LOW_WATER, Connection


class FakeTransport(asyncio.Transport):
    """Buffers what is written once ``capacity`` bytes have gone out, as a slow reader makes it.

    ``wire`` is what the peer has; ``writes`` the size of each call. As uvloop's, a closed
    one raises when it is written to.
    """

    def __init__(self, connection: Connection, capacity: int | None = None) -> None:
        super().__init__()
        self.connection = connection
        self.capacity = capacity
        self.wire = bytearray()
        self.writes: list[int] = []
        self.buffer = bytearray()
        self.max_buffered = 0
        self.aborted = False
        self.broken = False
        self.reading = True
        self.half_closed = False
        self._closing = False
        self._paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self.broken:
            raise OSError("this one breaks whoever writes to it")
        self.writes.append(len(data))
        self.buffer += data
        self._move(self.capacity)
        self.max_buffered = max(self.max_buffered, len(self.buffer))
        if len(self.buffer) > HIGH_WATER and not self._paused:
            self._paused = True
            self.connection.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def drain(self, size: int | None = None) -> None:
        """The peer reads so many bytes, or everything."""
        self._move(size)
        if self._paused and len(self.buffer) <= LOW_WATER:
            self._paused = False
            self.connection.resume_writing()

    def _move(self, size: int | None) -> None:
        taken = len(self.buffer) if size is None else min(size, len(self.buffer))
        self.wire += self.buffer[:taken]
        del self.buffer[:taken]
        if self.capacity is not None:
            self.capacity = max(0, self.capacity - taken)

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write_eof(self) -> None:
        self.half_closed = True

    def pause_reading(self) -> None:
        if self._closing:
            raise RuntimeError("Cannot pause_reading() when closing")
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (HIGH_WATER, LOW_WATER), "what this fake does"

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self.aborted = True
        self._closing = True
        self.buffer.clear()
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        """The loop tells the protocol that it is over."""
        if self.connection.transport is self:
            self.connection.connection_lost(None)


def attach(connection: Connection, capacity: int | None = None) -> FakeTransport:
    """Give the connection a transport; ``capacity`` 0 reads nothing until it is drained."""
    transport = FakeTransport(connection, capacity)
    connection.transport = transport
    return transport


def connection(
    user: str,
    device: str = "",
    *,
    echo: bool = False,
    buffer_limit: int = 1 << 20,
    origin: str | None = None,
    kinds: frozenset[str] | None = None,
) -> Connection:
    """A connection without a transport yet."""
    return Connection(
        user,
        origin or device or f"{user}-device",
        echo=echo,
        buffer_limit=buffer_limit,
        kinds=kinds,
    )


def texts(wire: bytes | bytearray) -> list[dict[str, Any]]:
    """The frames of the protocol in a stream of WebSocket frames, read by another
    implementation."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.receive_data(bytes(wire))
    found = []
    for event in client.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.TEXT:
            found.append(msgspec.json.decode(event.data))
    assert client.parser_exc is None
    return found
