"""Many sockets in a separate process, controlled by lines of JSON.

``python -m bench.listeners`` reads commands from standard input and answers each with
one line on standard output. :class:`Listeners` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from bench.processes import Failed, on
from bench.sockets import Client, open_client
from testkit.blocks import Block

WAVE = 100
WAIT_SECONDS = 120.0
_LINE_BYTES = 64 * 1024 * 1024


class _Crowd:
    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.total = 0
        self._target = 0
        self._reached = asyncio.Event()

    def _received(self, count: int) -> None:
        self.total += count
        if self.total >= self._target:
            self._reached.set()

    async def open(self, port: int, openings: list[str], sends_hello: bool) -> dict[str, Any]:
        """Open sockets in batches, so that the kernel's accept queue does not overflow."""
        for start in range(0, len(openings), WAVE):
            self.clients += await asyncio.gather(
                *[
                    open_client(
                        port, one.encode(), sends_hello=sends_hello, received=self._received
                    )
                    for one in openings[start : start + WAVE]
                ]
            )
        return {"open": len(self.clients)}

    async def wait(self, each: int) -> dict[str, Any]:
        """Wait until each socket has ``each`` frames since :meth:`reset`; return min and max."""
        self._target = each * len(self.clients)
        self._reached.clear()
        if self.total < self._target:
            try:
                await asyncio.wait_for(self._reached.wait(), WAIT_SECONDS)
            except TimeoutError:
                print(f"{self.total} of {self._target} frames came", file=sys.stderr)
        counts = [client.counter.count for client in self.clients]
        return {"min": min(counts), "max": max(counts)}

    async def reset(self, frame: int) -> dict[str, Any]:
        """Reset the counts, and count frames of this size."""
        self.total = 0
        for client in self.clients:
            client.counter.count = 0
            client.counter.size = frame
        return {}

    async def close(self) -> dict[str, Any]:
        """Abort all sockets."""
        for client in self.clients:
            client.transport.abort()
        self.clients.clear()
        return {}


async def _serve() -> None:
    crowd = _Crowd()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        try:
            answer = await getattr(crowd, command.pop("do"))(**command)
        except (Failed, OSError, TimeoutError) as exc:
            answer = {"failed": repr(exc)}
        print(json.dumps(answer), flush=True)


class Listeners(Block):
    """The process of the sockets, for the duration of the block."""

    def __init__(self, core: set[int]) -> None:
        self._core = core

    async def begin(self) -> None:
        with on(self._core):
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bench.listeners",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
            )

    async def end(self, error: BaseException | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _do(self, what: str, **values: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": what, **values}).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
        if not line:
            raise Failed("the listeners ended")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    async def open(self, port: int, openings: Sequence[bytes], *, sends_hello: bool) -> None:
        """Open a socket for each handshake. Raises ``Failed``."""
        texts = [one.decode() for one in openings]
        await self._do("open", port=port, openings=texts, sends_hello=sends_hello)

    async def reset(self, frame: int) -> None:
        """Reset the counts, and count frames of ``frame`` bytes."""
        await self._do("reset", frame=frame)

    async def wait(self, each: int) -> None:
        """Wait until each socket has exactly ``each`` frames.

        Raises:
            Failed: a socket has fewer frames after the time limit, or more.
        """
        answer = await self._do("wait", each=each)
        if answer["min"] != each or answer["max"] != each:
            raise Failed(f"not everybody had everything: {answer}, expected {each}")

    async def close_all(self) -> None:
        """Abort every socket."""
        await self._do("close")


if __name__ == "__main__":
    uvloop.run(_serve())
