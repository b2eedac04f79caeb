"""A WebSocket without a library: bytes out as the caller gives them, frames in.

For what no library lets one do: broken frames, handshakes and closings (RFC 6455).
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Iterable
from types import TracebackType
from typing import Final, Self, TypeVar

from yarl import URL

from chatsvc_conformance.expect import Failed
from chatsvc_conformance.framing import CLOSE, RawFrame, client_frame, read_frame

_T = TypeVar("_T")

KEY: Final = base64.b64encode(b"the sample nonce").decode()


def handshake(
    host: str,
    target: str,
    lines: Iterable[str] = (),
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
    without: Iterable[str] = (),
) -> bytes:
    """The opening request (RFC 6455 §4.1).

    Args:
        lines: further header lines; one whose name is among the usual replaces it.
        without: names of usual header lines to leave out, in lower case.
    """
    further = list(lines)
    replaced = {line.partition(":")[0].lower() for line in further} | set(without)
    usual = [
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    kept = [line for line in usual if line.partition(":")[0].lower() not in replaced]
    return "\r\n".join([f"{method} {target} {version}", *kept, *further, "", ""]).encode()


class RawSocket:
    """A connection to a server; a context manager that ends it.

    Every wait ends after ``timeout`` seconds with :class:`Failed`.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout

    @classmethod
    async def connect(cls, base: str, timeout: float) -> Self:
        """A connection on which nothing was sent yet.

        Raises:
            Failed: nothing listens there.
        """
        url = URL(base)
        secure = ssl.create_default_context() if url.scheme in ("https", "wss") else None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(url.host, url.port, ssl=secure)
        except (OSError, TimeoutError) as exc:
            raise Failed(f"no connection to {url.host}:{url.port}: {exc}") from None
        return cls(reader, writer, timeout)

    @classmethod
    async def open(cls, base: str, token: str, timeout: float) -> Self:
        """A WebSocket after its handshake; ``hello`` is not read yet.

        Raises:
            Failed: the server did not upgrade.
        """
        raw = await cls.connect(base, timeout)
        url = URL(base.rstrip("/") + "/ws")
        raw.write(handshake(url.authority, url.raw_path_qs, [f"Authorization: Bearer {token}"]))
        head = await raw.head()
        if not head.startswith("HTTP/1.1 101 "):
            await raw.end()
            raise Failed(f"the handshake must be answered with 101: {head.splitlines()[0]!r}")
        return raw

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def send(self, opcode: int, payload: bytes = b"", **how: bool | int) -> None:
        """Send one frame; for ``how`` see :func:`client_frame`."""
        self._writer.write(client_frame(opcode, payload, **how))  # type: ignore[arg-type]

    async def head(self) -> str:
        """An HTTP response up to its empty line."""
        return (await self._wait(self._reader.readuntil(b"\r\n\r\n"), "response")).decode("latin-1")

    async def response(self) -> tuple[str, bytes]:
        """Head and body of a response whose length is in its head."""
        head = await self.head()
        length = 0
        for line in head.splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        return head, await self._wait(self._reader.readexactly(length), "body")

    async def frame(self) -> RawFrame:
        """The next frame.

        Raises:
            Failed: none came in time, or the connection ended.
        """
        return await self._wait(read_frame(self._reader), "frame")

    async def frame_of(self, opcode: int) -> RawFrame:
        """The next frame of this opcode; others before it are passed over."""
        while (frame := await self.frame()).opcode != opcode:
            if frame.opcode == CLOSE:
                raise Failed(f"the connection must stay open: it is closed with {frame.close_code}")
        return frame

    async def close_code(self) -> int | None:
        """Of the close frame that comes; ``None`` where it carries no code."""
        return (await self.frame_of_close()).close_code

    async def frame_of_close(self) -> RawFrame:
        """The close frame that comes; what comes before it is passed over."""
        while (frame := await self.frame()).opcode != CLOSE:
            continue
        return frame

    async def rest(self) -> list[RawFrame]:
        """All frames up to the end of the connection.

        Raises:
            Failed: it stays open, or ends within a frame.
        """
        return await self._wait(self._rest(), "end of the connection")

    async def end(self) -> None:
        """Cut it off."""
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except OSError:
            return

    async def _rest(self) -> list[RawFrame]:
        found: list[RawFrame] = []
        while True:
            try:
                found.append(await read_frame(self._reader))
            except asyncio.IncompleteReadError as exc:
                if exc.partial:
                    raise
                return found
            except ConnectionError:
                return found  # it was closed with bytes of ours unread

    async def _wait(self, work: Awaitable[_T], what: str) -> _T:
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except TimeoutError:
            raise Failed(f"no {what} within {self._timeout:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Failed(f"no {what}: the connection ended") from None
