"""A running service, and sockets by hand, for the tests against RFC 6455."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from chatsvc.wire import frames
from chatsvc_conformance.framing import RawFrame, client_frame
from testkit.process import running
from testkit.raw_socket import RawSocket
from testkit.talking import SETTINGS, token, url_of
from testkit.waiting import PATIENCE

MAX_MESSAGE = 65_536

PING = b'{"type":"ping","ref":"r"}'
"""A text message that is answered, so that one sees that it arrived."""


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """Its URL. A message of a client has at most :data:`MAX_MESSAGE` bytes."""
    variables = SETTINGS | {"MAX_BODY_BYTES": str(MAX_MESSAGE)}
    with running(folder, "serve", **variables) as process:
        yield url_of(process)


@asynccontextmanager
async def opened(url: str, user: str = "alice") -> AsyncIterator[RawSocket]:
    """After its handshake and ``hello``."""
    async with await RawSocket.open(url, token(user), PATIENCE) as raw:
        hello = await raw.frame()
        assert json.loads(hello.payload)["type"] == "hello"
        yield raw


def padded(size: int) -> bytes:
    """:data:`PING` with white space up to so many bytes."""
    assert size >= len(PING)
    return PING + b" " * (size - len(PING))


async def answered(raw: RawSocket, ref: str = "r") -> None:
    """The next frame is the answer to a ping with this ``ref``."""
    frame = await raw.frame()
    assert frame.opcode == frames.TEXT, frame
    assert json.loads(frame.payload) == {"type": "pong", "ref": ref}


async def alive(raw: RawSocket) -> None:
    """It still answers, and with nothing else in between."""
    raw.send(frames.TEXT, PING)
    await answered(raw)


async def failed(raw: RawSocket, code: int) -> None:
    """Nothing comes but a close frame with this code, and the end of the connection."""
    assert closing(await raw.rest()) == code


def closing(found: list[RawFrame]) -> int | None:
    """The code of the only frame, which is a close with a reason in UTF-8."""
    assert [frame.opcode for frame in found] == [frames.CLOSE], found
    found[0].payload[2:].decode()
    return found[0].close_code


async def drip(raw: RawSocket, data: bytes, size: int = 1) -> None:
    """In pieces of ``size``, each a write of its own."""
    for start in range(0, len(data), size):
        raw.write(data[start : start + size])
        await raw.flush()


def fragments(*parts: bytes, between: bytes | None = None) -> bytes:
    """A text message in these parts, a ping between any two of them."""
    data = b""
    for number, part in enumerate(parts):
        if number and between is not None:
            data += client_frame(frames.PING, between)
        opcode = frames.CONTINUATION if number else frames.TEXT
        data += client_frame(opcode, part, fin=number == len(parts) - 1)
    return data
