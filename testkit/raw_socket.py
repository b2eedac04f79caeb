"""The raw WebSocket client of all suites: bytes out as a test gives them, frames in.

Framing and handshake are those of ``chatsvc_conformance``, which share no code with the
service. For a client that a library reads in the background see ``testkit/talking.py``.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Self

from yarl import URL

from chatsvc_conformance import raw_socket
from chatsvc_conformance.framing import PING, TEXT, RawFrame
from testkit.talking import SOON, bearer


class RawSocket(raw_socket.RawSocket):
    """A connection on which a test writes what it likes, and reads when it likes."""

    @classmethod
    async def dial(cls, url: str) -> Self:
        """A connection on which nothing was sent yet."""
        return await cls.connect(url, SOON)

    @classmethod
    async def upgraded(cls, url: str, user: str, early: bytes = b"", path: str = "/ws") -> Self:
        """After the handshake; ``early`` goes out in the same write as the request."""
        raw = await cls.dial(url)
        raw.write(opening(user, path) + early)
        head = await raw.head()
        assert head.startswith("HTTP/1.1 101 "), head
        return raw

    @classmethod
    async def with_small_window(cls, url: str, opening: bytes) -> Self:
        """One that takes little before it is read, after its ``opening`` was sent."""
        kernel = socket.socket()
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        kernel.setblocking(False)
        parts = URL(url)
        await asyncio.get_running_loop().sock_connect(kernel, (parts.host, parts.port))
        raw = cls(*await asyncio.open_connection(sock=kernel, limit=1024), SOON)
        raw.write(opening)
        return raw

    async def flush(self) -> None:
        """Return once what was written is with the system."""
        await self._writer.drain()

    def half_close(self) -> None:
        """Nothing more will be sent; what comes is still read."""
        self._writer.write_eof()

    async def skip(self, size: int) -> None:
        """Read so many bytes, whatever they are."""
        await asyncio.wait_for(self._reader.readexactly(size), SOON)

    async def frame_but_ping(self) -> RawFrame:
        """The next frame; heartbeats before it are passed over."""
        while (frame := await self.frame()).opcode == PING:
            continue
        return frame

    async def json(self) -> dict[str, Any]:
        """The next frame, which is a whole text message; heartbeats before it are passed over."""
        frame = await self.frame_but_ping()
        assert (frame.opcode, frame.fin, frame.masked) == (TEXT, True, False), frame
        value: dict[str, Any] = json.loads(frame.payload)
        return value

    async def ended(self) -> int | None:
        """The code of the close frame that comes, whatever comes before it; then the end."""
        code = (await self.frame_of_close()).close_code
        assert await self.rest() == [], "nothing follows a close frame"
        return code


def opening(user: str, path: str = "/ws", *lines: str, **headers: str) -> bytes:
    """The opening request of a user.

    Args:
        lines: further header lines, as they are.
        headers: in place of the usual ones, ``_`` for ``-``.
    """
    fields = bearer(user) | {name.replace("_", "-"): value for name, value in headers.items()}
    given = [f"{name}: {value}" for name, value in fields.items()]
    return raw_socket.handshake("localhost", path, [*given, *lines])
