"""The writing half of a socket: its user, its pending spans and its unsent bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from chatsvc.delivery.spans import Behind, Span
from chatsvc.delivery.transports import reset, unsent

LOW_WATER: Final = 16 * 1024
HIGH_WATER: Final = 64 * 1024
"""Above ``HIGH_WATER`` unsent bytes a socket is slow; below ``LOW_WATER`` it is drained."""

_UNKNOWN: Final = 1 << 62
"""The value of ``slow_size`` before the first check."""


class Connection(asyncio.Protocol):
    """The writing half of a socket. Slotted: there is one for every connected client.

    ``origin`` is recorded with the messages that this connection sends, and is unique to it.
    With ``echo`` the connection also receives what its user sent from elsewhere, with ``kinds``
    records of no others; ``None``: of all. ``waiting``
    is owned by the fan-out, or by the resume while it is ``BEHIND``. A ``sealed`` connection
    ignores writes: a close frame must be the last frame (RFC 6455 §5.5.1).

    Args:
        origin: ``device/id``, or the id alone if the device has no name.
        buffer_limit: the maximum of unsent bytes up to which the fan-out writes to it.
    """

    __slots__ = (
        "_drained",
        "buffer_limit",
        "echo",
        "kinds",
        "live",
        "origin",
        "sealed",
        "slow_since",
        "slow_size",
        "transport",
        "user",
        "waiting",
    )

    def __init__(
        self,
        user: str,
        origin: str,
        *,
        echo: bool,
        buffer_limit: int,
        kinds: frozenset[str] | None = None,
    ) -> None:
        self.user = user
        self.origin = origin
        self.echo = echo
        self.kinds = kinds
        self.buffer_limit = buffer_limit
        self.transport: asyncio.Transport | None = None
        self.waiting: Span | list[Span] | Behind | None = None
        self.live = False
        self.sealed = False
        self.slow_since = 0.0
        self.slow_size = 0
        self._drained: asyncio.Future[None] | None = None

    @property
    def device(self) -> str:
        """The device name, which sends over HTTP give to name the same device."""
        return self.origin.partition("/")[0]

    def wants(self, sender: str, origin: str) -> bool:
        """Return whether a live message is delivered to this connection.

        Messages of other users are. Messages of its own user are with ``echo``, except those
        that were sent over this connection, or over HTTP with its device name.
        """
        return sender != self.user or (self.echo and origin not in (self.origin, self.device))

    def wants_missed(self, sender: str, origin: str) -> bool:
        """Return whether a missed message is replayed; with ``echo``, from every device."""
        return sender != self.user or (self.echo and origin != self.origin)

    def write(self, data: bytes) -> None:
        """Send bytes with one system call, or buffer them; do nothing on a closed socket.

        uvloop raises for a write to a closed transport, and one such error would end the
        sweep for all connections behind it.
        """
        transport = self.transport
        if transport is None or self.sealed or transport.is_closing():
            return
        if self.slow_since:
            self.slow_size += len(data)
        transport.write(data)

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Send several frames with one system call."""
        transport = self.transport
        if transport is None or self.sealed or transport.is_closing():
            return
        if self.slow_since:
            self.slow_size += sum(map(len, frames))
        transport.writelines(frames)

    @property
    def writable(self) -> bool:
        """Whether written bytes can arrive: the socket is not closing and not closed."""
        return self.transport is not None and not self.sealed and not self.transport.is_closing()

    @property
    def unsent(self) -> int:
        """The number of unsent bytes of a slow connection; 0 for one that is not slow."""
        if not self.slow_since or self.transport is None:
            return 0
        return self.transport.get_write_buffer_size()

    def cut(self, reason: str) -> None:
        """Abort the connection and discard unsent bytes; the client reconnects with ``since``.

        Args:
            reason: recorded by subclasses.
        """
        if self.transport is None:
            return
        if self.slow_since:
            reset(self.transport)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Mark the connection slow; called by the event loop above :data:`HIGH_WATER`."""
        loop = asyncio.get_running_loop()
        self.slow_since = loop.time()
        self.slow_size = _UNKNOWN

    def resume_writing(self) -> None:
        """Mark the connection drained; called by the event loop below :data:`LOW_WATER`."""
        self.slow_since = 0.0
        self._release()

    def stalled(self, now: float, seconds: float) -> bool:
        """Return whether the peer has read nothing for ``seconds``.

        ``slow_size`` is the number of bytes that would be unsent if the peer had read nothing
        since the last check: bytes written meanwhile must not hide that it reads.
        """
        if not self.slow_since or self.transport is None:
            return False
        size = unsent(self.transport)
        if size < self.slow_size and self.slow_size < _UNKNOWN:
            self.slow_since = now
        self.slow_size = size
        return now - self.slow_since >= seconds

    async def drained(self) -> None:
        """Return once the socket is not slow, or is closed."""
        while self.slow_since and self.transport is not None:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def connection_lost(self, exc: Exception | None) -> None:
        """Detach the transport; called by the event loop when the socket is closed."""
        self.transport = None
        self.live = False
        self._release()

    def _release(self) -> None:
        waiter, self._drained = self._drained, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
