"""Frames as a client sends them, or as none should."""

from __future__ import annotations

import struct

from chatsvc.wire.frames import Event, FrameDecoder

MAX = 256 * 1024
KEY = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes | None = KEY
) -> bytes:
    """A frame as a client sends it, or as none should."""
    size = len(payload)
    masked = 0x80 if key is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + struct.pack(">H", size)
    else:
        head += bytes([masked | 127]) + struct.pack(">Q", size)
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def decode(data: bytes, max_message: int = MAX) -> tuple[list[Event], int | None]:
    """What comes out, and the code that the connection fails with."""
    decoder = FrameDecoder(max_message)
    events = decoder.feed(data)
    return events, decoder.failure.code if decoder.failure else None
