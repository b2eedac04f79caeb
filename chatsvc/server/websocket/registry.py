"""Which sockets there are, and in which state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from chatsvc.core.ids import format_id
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.reconcile import EpochEntry
from chatsvc.log.tail import Tail
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire.frames import encode_text
from chatsvc.wire.protocol import Gap, Reset, encode_frame

_SLICE: Final = 32


class SocketRegistry:
    """The sockets of a process.

    ``sockets`` are all, closing ones included; ``slow`` those with unsent bytes; ``unstored``
    those that asked for receipts and have sent messages that are not stored yet. ``closing`` is
    the number of a user's sockets that left the hub and are still open. ``draining``: no more
    are accepted. ``emptied`` is set when the last one is removed.
    """

    def __init__(self, *, hub: Hub, tail: Tail, resumer: Resumer) -> None:
        self._hub = hub
        self._tail = tail
        self._resumer = resumer
        self._tasks: set[asyncio.Task[None]] = set()
        self.sockets: set[SocketState] = set()
        self.slow: set[SocketState] = set()
        self.unstored: set[SocketState] = set()
        self.closing: dict[str, int] = {}
        self.emptied = asyncio.Event()
        self.draining = False

    def count_of_user(self, user: str) -> int:
        """Return the number of a user's sockets, including those that are closing."""
        return len(self._hub.of(user)) + self.closing.get(user, 0)

    def begin_closing(self, socket: SocketState) -> None:
        """Stop delivery to the socket; it is counted until it is closed. Idempotent."""
        if self._hub.discard(socket):
            self.closing[socket.user] = self.closing.get(socket.user, 0) + 1

    def end_closing(self, socket: SocketState) -> None:
        """Stop counting a socket that is closed, whether it was closing or was lost."""
        if self._hub.discard(socket):
            return
        left = self.closing.pop(socket.user, 0) - 1
        if left > 0:
            self.closing[socket.user] = left

    def remove(self, socket: SocketState) -> None:
        """Remove a closed socket from every set."""
        self.sockets.discard(socket)
        self.slow.discard(socket)
        self.unstored.discard(socket)
        if not self.sockets:
            self.emptied.set()

    def begin_epoch(self, epochs: Sequence[EpochEntry]) -> None:
        """Start a new epoch of the log, the last of ``epochs``.

        Every open socket is sent ``reset`` and a gap: messages of the gap may differ from
        those that the client has.
        """
        self._resumer.begin_epoch(epochs)
        task = asyncio.get_running_loop().create_task(self._announce_epoch(epochs[-1]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce_epoch(self, epoch: EpochEntry) -> None:
        above = format_id(min(epoch.begun, self._tail.head))
        reset = encode_text(encode_frame(Reset(epoch=epoch.epoch, from_=above)))
        for count, socket in enumerate(list(self.sockets)):
            gap = encode_frame(Gap(from_=above, to=format_id(self._tail.head)))
            socket.write(reset + encode_text(gap))
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
