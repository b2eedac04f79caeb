"""What all sockets share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from chatsvc.auth.principal import Principal
from chatsvc.core.ids import format_id
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.base import Appended
from chatsvc.log.reconcile import Life
from chatsvc.log.tail import Tail
from chatsvc.wire.frames import encode_text
from chatsvc.wire.protocol import Gap, Reset, encode_frame

_SLICE: Final = 32


class Submit(Protocol):
    """Sends a message; a Task where the answer needs more than the log."""

    def __call__(
        self,
        *,
        sender: str,
        origin: str,
        participants: list[str] | msgspec.UnsetType,
        content: str,
        client_id: str | None,
        metadata: dict[str, Any] | None,
        channel: str | msgspec.UnsetType,
    ) -> asyncio.Future[Appended]:
        """Raises ``RequestError`` for what cannot be accepted."""


class SocketMetrics(Protocol):
    """What the sockets count."""

    def socket_opened(self) -> None:
        """One more."""

    def socket_closed(self, reason: str) -> None:
        """One fewer."""


class Sender(Protocol):
    """Who waits to hear that what it sent is stored."""

    def tell_stored(self, watermark: int) -> None:
        """The store holds everything up to here."""


class OpenSocket(Sender, Protocol):
    """A socket, as those who look after all of them see it."""

    user: str
    connection_id: str

    def beat(self) -> None:
        """A heartbeat is due."""

    def write(self, data: bytes) -> None:
        """Send bytes; nothing where it is gone."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""

    def cut(self, reason: str) -> None:
        """End it at once."""

    def stalled(self, now: float, seconds: float) -> bool:
        """Whether unsent bytes have not shrunk for so long."""


@dataclass(kw_only=True)
class SocketContext:
    """Built once by the composition root. Times are in seconds, sizes in bytes."""

    hub: Hub
    tail: Tail
    resumer: Resumer
    submit: Submit
    authenticate: Callable[[str], Principal]
    metrics: SocketMetrics
    server_name: str
    heartbeat_seconds: float
    stall_seconds: float
    buffer_limit: int
    max_frame: int
    max_content: int
    max_connections: int
    max_connections_per_user: int
    unacked_max: int
    sockets: set[OpenSocket] = field(default_factory=set)
    slow: set[OpenSocket] = field(default_factory=set)
    unstored: set[Sender] = field(default_factory=set)
    """Sockets that asked for receipts, and have sent what is not stored yet."""
    leaving: dict[str, int] = field(default_factory=dict)
    """How many sockets of a user are out of the hub and not gone yet."""
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False
    turn_left: int = 0
    """Units that the socket whose turn it is may still cost in it."""

    def of_user(self, user: str) -> int:
        """How many sockets a user has, those that are closing included."""
        return len(self.hub.of(user)) + self.leaving.get(user, 0)

    def begin_leaving(self, socket: Connection) -> None:
        """Nothing more is delivered to the socket; it counts until it is gone. Idempotent."""
        if self.hub.discard(socket):
            self.leaving[socket.user] = self.leaving.get(socket.user, 0) + 1

    def end_leaving(self, socket: Connection) -> None:
        """The socket is gone, whether it was leaving or was lost."""
        if self.hub.discard(socket):
            return
        left = self.leaving.pop(socket.user, 0) - 1
        if left > 0:
            self.leaving[socket.user] = left

    def forget(self, socket: OpenSocket) -> None:
        """The socket is gone."""
        self.sockets.discard(socket)
        self.slow.discard(socket)
        self.unstored.discard(socket)
        if not self.sockets:
            self.emptied.set()

    def tell_stored(self, watermark: int) -> None:
        """The store holds everything up to here: those who asked are told."""
        for socket in list(self.unstored):
            socket.tell_stored(watermark)

    def begin_life(self, lives: Sequence[Life]) -> None:
        """The log has begun a new life: whoever is connected is told, and fetches again what
        may have come between what it has already."""
        self.resumer.begin_life(lives)
        self.spawn(self._announce_life(lives[-1]))

    async def _announce_life(self, life: Life) -> None:
        above = format_id(min(life.begun, self.tail.head))
        reset = encode_text(encode_frame(Reset(epoch=life.epoch, from_=above)))
        for count, socket in enumerate(list(self.sockets)):
            gap = encode_frame(Gap(from_=above, to=format_id(self.tail.head)))
            socket.write(reset + encode_text(gap))
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the socket, and be remembered until done."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
