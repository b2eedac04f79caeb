"""WebSocket frames byte by byte (RFC 6455 §5), as a client writes them, right or wrong.

Written for the checks alone: code that it shared with a server could hide an error of both.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from typing import Final, NamedTuple

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class RawFrame(NamedTuple):
    """A frame as it came; ``reserved`` is RSV1 to RSV3 as a number.

    ``length_bytes`` is 0, 2 or 8: how many followed the head to say its length.
    """

    fin: bool
    reserved: int
    opcode: int
    masked: bool
    payload: bytes
    length_bytes: int

    @property
    def close_code(self) -> int | None:
        """Of a close frame, its code; ``None`` where it carries none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length_bytes: int | None = None,
) -> bytes:
    """A frame of a client (RFC 6455 §5.2), right or wrong as the arguments have it.

    Args:
        length_bytes: 0, 2 or 8 bytes of extended length; by default as few as are needed.
    """
    size = len(payload)
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 65_536 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes((fin << 7 | reserved << 4 | opcode, masked << 7 | short))
    head += size.to_bytes(length_bytes, "big") if length_bytes else b""
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + mask(payload, key)


async def read_frame(reader: asyncio.StreamReader) -> RawFrame:
    """The next frame of either side.

    Raises:
        asyncio.IncompleteReadError: the connection ended; ``partial`` is empty where it
            ended before the frame, and not within it.
    """
    head = await reader.readexactly(2)
    try:
        return await _frame_after(head, reader)
    except asyncio.IncompleteReadError as exc:
        raise asyncio.IncompleteReadError(head + exc.partial, exc.expected) from None


async def _frame_after(head: bytes, reader: asyncio.StreamReader) -> RawFrame:
    first, second = head
    size = second & 0x7F
    length_bytes = {126: 2, 127: 8}.get(size, 0)
    if length_bytes:
        size = int.from_bytes(await reader.readexactly(length_bytes), "big")
    masked = bool(second & 0x80)
    key = await reader.readexactly(4) if masked else b""
    payload = await reader.readexactly(size)
    if masked:
        payload = mask(payload, key)
    return RawFrame(bool(first & 0x80), first >> 4 & 7, first & 0x0F, masked, payload, length_bytes)


def mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask: each byte XOR one of the four of ``key`` in turn (§5.3)."""
    return bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` of a ``Sec-WebSocket-Key`` (§4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
