"""The state and the services that all sockets share."""

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
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.base import Appended
from chatsvc.log.reconcile import EpochEntry
from chatsvc.log.tail import Tail
from chatsvc.wire.frames import encode_text
from chatsvc.wire.protocol import Gap, Reset, encode_frame

_SLICE: Final = 32


class Submit(Protocol):
    """A function that submits a message to the log.

    It returns a Task if the answer needs more than the log, otherwise a plain future.
    """

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
        """Submit a message.

        Raises:
            RequestError: the message cannot be accepted.
        """


class SocketMetrics(Protocol):
    """The metrics of sockets."""

    def socket_opened(self) -> None:
        """Count an opened socket."""

    def socket_closed(self, reason: str) -> None:
        """Count a closed socket by its reason."""


class ReceiptSubscriber(Protocol):
    """A connection that waits for receipts of stored messages."""

    def notify_stored(self, watermark: int) -> None:
        """Handle that the store has every message up to ``watermark``."""


class OpenSocket(ReceiptSubscriber, Protocol):
    """A socket as the context and the monitor use it."""

    user: str
    connection_id: str

    def heartbeat(self) -> None:
        """Send a heartbeat, or close the socket if the previous one was missed."""

    def write(self, data: bytes) -> None:
        """Send bytes; do nothing if the socket is closed."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""

    def cut(self, reason: str) -> None:
        """Abort the connection immediately."""

    def stalled(self, now: float, seconds: float) -> bool:
        """Return whether the number of unsent bytes has not decreased for ``seconds``."""


@dataclass(kw_only=True)
class SocketContext:
    """The services, limits and state of all sockets of a process.

    Built once by the composition root. Times are in seconds, sizes in bytes.
    """

    hub: Hub
    tail: Tail
    acknowledgements: Acknowledgements
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
    unstored: set[ReceiptSubscriber] = field(default_factory=set)
    """Sockets that requested receipts and have sent messages that are not stored yet."""
    closing: dict[str, int] = field(default_factory=dict)
    """The number of a user's sockets that left the hub and are still open."""
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False
    turn_left: int = 0
    """Units that are left to the socket whose turn it is."""

    def count_of_user(self, user: str) -> int:
        """Return the number of a user's sockets, including those that are closing."""
        return len(self.hub.of(user)) + self.closing.get(user, 0)

    def begin_closing(self, socket: Connection) -> None:
        """Stop delivery to the socket; it is counted until it is closed. Idempotent."""
        if self.hub.discard(socket):
            self.closing[socket.user] = self.closing.get(socket.user, 0) + 1

    def end_closing(self, socket: Connection) -> None:
        """Stop counting a socket that is closed, whether it was closing or was lost."""
        if self.hub.discard(socket):
            return
        left = self.closing.pop(socket.user, 0) - 1
        if left > 0:
            self.closing[socket.user] = left

    def remove(self, socket: OpenSocket) -> None:
        """Remove a closed socket from every set."""
        self.sockets.discard(socket)
        self.slow.discard(socket)
        self.unstored.discard(socket)
        if not self.sockets:
            self.emptied.set()

    def notify_stored(self, watermark: int) -> None:
        """Send receipts: the store has every message up to ``watermark``."""
        for socket in list(self.unstored):
            socket.notify_stored(watermark)

    def begin_epoch(self, epochs: Sequence[EpochEntry]) -> None:
        """Start a new epoch of the log, the last of ``epochs``.

        Every open socket is sent ``reset`` and a gap: messages of the gap may differ from
        those that the client has.
        """
        self.resumer.begin_epoch(epochs)
        self.spawn(self._announce_epoch(epochs[-1]))

    async def _announce_epoch(self, epoch: EpochEntry) -> None:
        above = format_id(min(epoch.begun, self.tail.head))
        reset = encode_text(encode_frame(Reset(epoch=epoch.epoch, from_=above)))
        for count, socket in enumerate(list(self.sockets)):
            gap = encode_frame(Gap(from_=above, to=format_id(self.tail.head)))
            socket.write(reset + encode_text(gap))
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a background task and keep a reference to it until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task
