"""HTTP attacks of one client, and the service that other clients get meanwhile.

The attacks are raw sockets: whatever a client library would not send or would read. Used
by ``python -m bench hostile`` for figures and by ``tests/hostile`` for bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from bench.http_load import request
from testkit.blocks import Block, Tasks, percentile

HEAD_FIELD = b"X-Filler-%03d: " + b"x" * 16_000 + b"\r\n"
ANSWER_SECONDS = 20.0


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes (``VmRSS``)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


class Crowd(Block):
    """Connections of one attacker, which are closed at the end of the block.

    They are opened, written to and kept open, and only read where a method says so.

    Args:
        port: on this machine.
        receive_buffer: the kernel's buffer of each, so that what is not read stays with
            the server.
    """

    def __init__(self, port: int, *, receive_buffer: int = 4096) -> None:
        self._port = port
        self._receive_buffer = receive_buffer
        self.sockets: list[socket.socket] = []

    async def end(self, error: BaseException | None) -> None:
        self.hang_up()

    async def open(self, count: int) -> list[socket.socket]:
        """Open ``count`` more connections."""
        loop = asyncio.get_running_loop()
        fresh: list[socket.socket] = []
        for _ in range(count):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            one.setblocking(False)
            self.sockets.append(one)
            fresh.append(one)
            await loop.sock_connect(one, ("127.0.0.1", self._port))
        return fresh

    async def send(self, data: bytes, seconds: float = 30.0) -> int:
        """Write the same data to all without waiting; return how many accepted all of it."""
        results = await asyncio.gather(*[_send(one, data, seconds) for one in self.sockets])
        return sum(results)

    def closed(self) -> int:
        """Return how many the server has closed, according to the kernel; nothing is read."""
        poll = select.poll()
        for one in self.sockets:
            poll.register(one, select.POLLRDHUP)
        return len(poll.poll(0))

    def hang_up(self) -> None:
        """Close all connections."""
        for one in self.sockets:
            one.close()
        self.sockets.clear()


async def _send(one: socket.socket, data: bytes, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_sendall(one, data)
    except (OSError, TimeoutError):
        return False
    return True


async def answer(port: int, data: bytes, *, half_close: bool = False) -> tuple[int, bytes, bytes]:
    """Send ``data`` on a new connection; return status, head and body of the answer.

    Raises:
        OSError, asyncio.IncompleteReadError, TimeoutError: there was no answer.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = await reader.readexactly(length)
        finally:
            writer.close()
    return int(head[9:12]), head, body


class Honest(Tasks):
    """Requests of other clients: a few run concurrently, each on a new connection.

    ``seconds`` are the response times of successful requests, ``failures`` the outcomes of all
    others.
    """

    def __init__(self, port: int, requests: Sequence[bytes], *, at_once: int = 4) -> None:
        super().__init__()
        self._port = port
        self._requests = list(requests)
        self._at_once = at_once
        self.seconds: list[float] = []
        self.failures: list[str] = []

    async def begin(self) -> None:
        for number in range(self._at_once):
            self.start(self._go_on(number))

    @property
    def answered(self) -> int:
        """Return the number of successful answers."""
        return len(self.seconds)

    def reset(self) -> None:
        """Reset the counts."""
        self.seconds, self.failures = [], []

    def percentile(self, share: float) -> float:
        """Return the percentile ``share`` of the response times, in seconds."""
        return percentile(self.seconds, share)

    async def _go_on(self, number: int) -> None:
        while True:
            for data in self._requests[number:] + self._requests[:number]:
                began = time.monotonic()
                try:
                    status, _, _ = await answer(self._port, data)
                except (OSError, asyncio.IncompleteReadError, TimeoutError) as exc:
                    self.failures.append(type(exc).__name__)
                else:
                    if status in {200, 201}:
                        self.seconds.append(time.monotonic() - began)
                    else:
                        self.failures.append(str(status))
                await asyncio.sleep(0.02)


class Peak(Tasks):
    """``value`` is the maximum of what ``read`` returns during the block.

    It is called ``every`` so many seconds.
    """

    def __init__(self, read: Callable[[], int], every: float) -> None:
        super().__init__()
        self._read = read
        self._every = every
        self.value = read()

    async def begin(self) -> None:
        self.start(self._look())

    async def _look(self) -> None:
        while True:
            self.value = max(self.value, self._read())
            await asyncio.sleep(self._every)


@contextlib.asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Callable[[], int]]:
    """Give a function that returns the maximum memory of the process during the block."""
    async with Peak(partial(resident, pid), 0.05) as peak:
        yield lambda: peak.value


async def outcome(attack: Callable[[int], Awaitable[str]], port: int) -> str:
    """Return what an attack reports that runs in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as elsewhere:
        work = partial(_run, attack, port)
        return await asyncio.get_running_loop().run_in_executor(elsewhere, work)


def _run(attack: Callable[[int], Awaitable[str]], port: int) -> str:
    async def run() -> str:
        return await attack(port)

    return asyncio.run(run())


def honest_requests(token: str) -> list[bytes]:
    """Return a send, a page of messages, and the documentation page."""
    bearer = {"Authorization": f"Bearer {token}"}
    body = b'{"participants":["honest","other"],"content":"Hello!"}'
    return [
        request("POST", "/api/messages", bearer, body),
        request("GET", "/api/messages?limit=20", bearer),
        request("GET", "/docs", {}),
    ]


def unread_page(token: str, limit: int = 1000) -> bytes:
    """Return a request for the largest page."""
    return request("GET", f"/api/messages?limit={limit}", {"Authorization": f"Bearer {token}"})


def large_file() -> bytes:
    """Return a request for a large file that needs no token."""
    return request("GET", "/docs/swagger-ui-bundle.js", {})


def unfinished_head(fields: int = 120) -> Iterator[bytes]:
    """Return a request line and many large header fields without the end of the head."""
    yield b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for number in range(fields):
        yield HEAD_FIELD % number
