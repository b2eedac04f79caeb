"""A TCP proxy that misbehaves on demand, between a client and whatever it talks to.

Each direction has faults of its own: ``up`` is from the client to the target, ``down``
is back. All can be switched while connections are open.

A black hole is a network that is gone, not a peer that is gone: nothing is forwarded,
no FIN and no RST either, and what was sent meanwhile arrives once it heals, as TCP's
retransmissions would have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
import struct
from dataclasses import dataclass, field

from testkit.blocks import Block

_CHUNK = 65_536
_LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: close() sends RST instead of FIN (socket(7), tcp(7))."""


class Direction(enum.Enum):
    """Which way bytes go."""

    UP = "up"
    DOWN = "down"


BOTH = (Direction.UP, Direction.DOWN)


@dataclass(slots=True)
class _Faults:
    """What is wrong with one direction now."""

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)
    healed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def pause(self, seconds: float) -> None:
        """Wait, unless it heals first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.healed.wait()


class _Link:
    """One client's connection and its other half."""

    def __init__(self, client: socket.socket) -> None:
        self.sockets = {Direction.UP: client}  # by the direction that is read from it
        self.task: asyncio.Task[None] | None = None
        self.forwarded = {Direction.UP: 0, Direction.DOWN: 0}

    def close(self, *, reset: bool) -> None:
        for sock in self.sockets.values():
            if reset:
                # A peer that went first has left nothing to set options on.
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            sock.close()


class FaultProxy(Block):
    """Listens on a free port of 127.0.0.1 and forwards to ``(host, port)``.

    ::

        async with FaultProxy(("127.0.0.1", 27017)) as proxy:
            client = connect(proxy.port)
            proxy.black_hole(Direction.DOWN)
            ...
            proxy.heal()
            await proxy.cut()
    """

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        self._random = random.Random(seed)
        self._faults = {direction: _Faults() for direction in Direction}
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None

    async def begin(self) -> None:
        self.listen()

    async def end(self, error: BaseException | None) -> None:
        self.refuse()
        await self.cut(reset=True)

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    @property
    def forwarded(self) -> dict[Direction, int]:
        """Bytes forwarded for the connections that are open now."""
        return {
            direction: sum(link.forwarded[direction] for link in self._links)
            for direction in Direction
        }

    # -- switches ---------------------------------------------------------------------

    def delay(
        self, seconds: float, *, jitter: float = 0.0, directions: tuple[Direction, ...] = BOTH
    ) -> None:
        """Hold every chunk back for ``seconds`` and up to ``jitter`` more."""
        for direction in directions:
            self._faults[direction].delay = seconds
            self._faults[direction].jitter = jitter
            self._faults[direction].healed.clear()

    def throttle(
        self, bytes_per_second: float | None, *, directions: tuple[Direction, ...] = BOTH
    ) -> None:
        """Forward no faster than this; ``None``: as fast as it goes."""
        for direction in directions:
            self._faults[direction].bytes_per_second = bytes_per_second
            self._faults[direction].healed.clear()

    def black_hole(self, *directions: Direction) -> None:
        """Forward nothing and close nothing; without arguments, both directions."""
        for direction in directions or BOTH:
            self._faults[direction].open.clear()

    def heal(self) -> None:
        """Forward again, all that was held back at once. What was cut stays cut."""
        for faults in self._faults.values():
            faults.delay = faults.jitter = 0.0
            faults.bytes_per_second = None
            faults.open.set()
            faults.healed.set()

    async def cut(self, *, reset: bool = True) -> int:
        """End every open connection, by RST or else by FIN; how many there were."""
        links = list(self._links)
        for link in links:
            if link.task is not None:
                link.task.cancel()
        await asyncio.gather(*(link.task for link in links if link.task), return_exceptions=True)
        for link in links:
            link.close(reset=reset)
            self._links.discard(link)
        return len(links)

    def half_close(self, direction: Direction) -> None:
        """Send FIN in one direction of every open connection; the other goes on."""
        receiving = Direction.DOWN if direction is Direction.UP else Direction.UP
        for link in self._links:
            if receiving in link.sockets:
                with contextlib.suppress(OSError):  # it may be half closed already
                    link.sockets[receiving].shutdown(socket.SHUT_WR)

    def refuse(self) -> None:
        """Stop listening: new connections are refused, open ones go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def listen(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    # -- forwarding -------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it went again before its turn came
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        link = _Link(client)
        self._links.add(link)
        link.task = asyncio.create_task(self._serve(link))

    async def _serve(self, link: _Link) -> None:
        """Until both directions ended, or either broke: then the other is reset too."""
        loop = asyncio.get_running_loop()
        await self._faults[Direction.UP].open.wait()
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sockets[Direction.DOWN] = server
        reset = True
        try:
            await loop.sock_connect(server, self.target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(link, Direction.UP))
                pumps.create_task(self._pump(link, Direction.DOWN))
            reset = False
        except (OSError, ExceptionGroup):
            pass  # a reset by one peer is passed on to the other, below
        link.close(reset=reset)
        self._links.discard(link)

    async def _pump(self, link: _Link, direction: Direction) -> None:
        loop = asyncio.get_running_loop()
        opposite = Direction.DOWN if direction is Direction.UP else Direction.UP
        source, sink = link.sockets[direction], link.sockets[opposite]
        faults = self._faults[direction]
        while True:
            await faults.open.wait()
            try:
                chunk = await loop.sock_recv(source, _CHUNK)
            except OSError:
                await faults.open.wait()  # a black hole swallows the RST as well
                raise
            await faults.open.wait()
            if faults.delay or faults.jitter:
                await faults.pause(faults.delay + self._random.random() * faults.jitter)
            if not chunk:
                await faults.open.wait()
                with contextlib.suppress(OSError):  # half closed by hand before
                    sink.shutdown(socket.SHUT_WR)
                return
            await self._forward(sink, chunk, faults)
            link.forwarded[direction] += len(chunk)

    async def _forward(self, sink: socket.socket, chunk: bytes, faults: _Faults) -> None:
        """Send, in slices of a twentieth of a second where it is throttled."""
        loop = asyncio.get_running_loop()
        rest = memoryview(chunk)
        while rest:
            await faults.open.wait()
            rate = faults.bytes_per_second
            size = len(rest) if rate is None else max(1, int(rate / 20))
            await loop.sock_sendall(sink, rest[:size])
            if rate is not None:
                await faults.pause(size / rate)
            rest = rest[size:]
