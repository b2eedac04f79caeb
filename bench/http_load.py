"""HTTP load over keep-alive connections, with as little Python work as possible.

Each connection has one unanswered request. Bytes are prepared; of a response only status and
length are parsed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import NamedTuple, cast

from bench.processes import Failed

_RUN_SECONDS = 300.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Load(NamedTuple):
    """The result of a run of requests. ``size`` is that of the last response body."""

    requests: int
    seconds: float
    size: int

    @property
    def rate(self) -> float:
        """The requests per second."""
        return self.requests / self.seconds


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    fields = {"Host": "127.0.0.1", **headers}
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], statuses: frozenset[bytes]) -> None:
        self._requests = requests
        self._statuses = statuses
        self._buffer = b""
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Send the first request; each answer triggers the next one."""
        following = next(self._requests, None)
        if following is not None:
            self._transport.write(following)
        elif not self.finished.done():
            self.finished.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(_HEAD_END)
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head + 2)
        size = int(length[1]) if length else 0
        if len(self._buffer) < head + len(_HEAD_END) + size:
            return
        if self._buffer[9:12] not in self._statuses:
            self._fail(Failed(f"an answer of another kind: {self._buffer[:400]!r}"))
            return
        self._buffer = b""
        self.size = size
        self.start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or Failed("the server closed the connection"))

    def _fail(self, exc: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc)

    def close(self) -> None:
        """Close the connection after :attr:`finished`."""
        self._transport.close()


async def run(
    port: int, requests: Iterator[bytes], *, at_once: int, statuses: tuple[int, ...] = (200, 201)
) -> Load:
    """Send all requests, ``at_once`` of them concurrently.

    Raises:
        Failed: a response has another status, or a connection was lost.
    """
    loop = asyncio.get_running_loop()
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for one in requests:
            sent += 1
            yield one

    source = counted()
    accepted = frozenset(str(status).encode() for status in statuses)
    connections: list[_Connection] = []
    try:
        for _ in range(at_once):
            _, protocol = await loop.create_connection(
                lambda: _Connection(source, accepted), "127.0.0.1", port
            )
            connections.append(protocol)
        began = time.monotonic()
        for connection in connections:
            connection.start()
        async with asyncio.timeout(_RUN_SECONDS):
            await asyncio.gather(*[connection.finished for connection in connections])
        seconds = time.monotonic() - began
    finally:
        for connection in connections:
            connection.close()
    return Load(sent, seconds, max(connection.size for connection in connections))
