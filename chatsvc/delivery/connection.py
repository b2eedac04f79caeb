"""A socket as delivery sees it: whose it is, what it waits for, and how full it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from chatsvc.delivery.spans import Behind, Span
from chatsvc.delivery.transports import reset, unsent

LOW_WATER: Final = 16 * 1024
HIGH_WATER: Final = 64 * 1024
"""Unsent bytes from which a socket counts as slow, and below which a resume goes on."""

_UNKNOWN: Final = 1 << 62
"""In place of a size before the first look."""


class Connection(asyncio.Protocol):
    """The writing half of a socket. Slotted: there are as many as there are users online.

    ``origin`` is what its own sends are recorded under, and no other connection's: its device
    and its id; ``echo`` asks for what the same user sent from elsewhere. ``waiting`` is owned
    by the fan-out, and by the resume while it is ``BEHIND``. A ``sealed`` connection takes
    nothing more: a close frame is the last that goes out (RFC 6455 §5.5.1).

    Args:
        origin: ``device/id``, or the id alone where the device has no name.
        buffer_limit: unsent bytes beyond which the fan-out writes no more to it.
    """

    __slots__ = (
        "_drained",
        "buffer_limit",
        "echo",
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
    ) -> None:
        self.user = user
        self.origin = origin
        self.echo = echo
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
        """The name by which sends over HTTP say that they belong to it."""
        return self.origin.partition("/")[0]

    def wants(self, sender: str, origin: str) -> bool:
        """Whether it is to have this live: not one's own messages; with ``echo`` those too,
        except what was sent over this connection, or over HTTP in its device's name."""
        return sender != self.user or (self.echo and origin not in (self.origin, self.device))

    def wants_missed(self, sender: str, origin: str) -> bool:
        """Whether it is to have this replayed: with ``echo``, whatever device sent it."""
        return sender != self.user or (self.echo and origin != self.origin)

    def write(self, data: bytes) -> None:
        """One system call, or bytes into the buffer. A socket that is gone takes nothing.

        uvloop raises for a write to a closed transport, and one such error would end the
        sweep for everybody behind it.
        """
        transport = self.transport
        if transport is None or self.sealed or transport.is_closing():
            return
        if self.slow_since:
            self.slow_size += len(data)
        transport.write(data)

    def write_all(self, frames: Sequence[bytes]) -> None:
        """Several frames in one system call."""
        transport = self.transport
        if transport is None or self.sealed or transport.is_closing():
            return
        if self.slow_since:
            self.slow_size += sum(map(len, frames))
        transport.writelines(frames)

    @property
    def writable(self) -> bool:
        """Whether what is written can still arrive: not closing, cut off or gone."""
        return self.transport is not None and not self.sealed and not self.transport.is_closing()

    @property
    def unsent(self) -> int:
        """Bytes that a slow connection has not taken yet; 0 for one that is not slow."""
        if not self.slow_since or self.transport is None:
            return 0
        return self.transport.get_write_buffer_size()

    def cut(self, reason: str) -> None:
        """End the connection at once, unsent bytes and all; the client comes back with
        ``since``. Subclasses note the reason."""
        if self.transport is None:
            return
        if self.slow_since:
            reset(self.transport)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Called by the loop above :data:`HIGH_WATER`."""
        loop = asyncio.get_running_loop()
        self.slow_since = loop.time()
        self.slow_size = _UNKNOWN

    def resume_writing(self) -> None:
        """Called by the loop below :data:`LOW_WATER`."""
        self.slow_since = 0.0
        self._release()

    def stalled(self, now: float, seconds: float) -> bool:
        """Whether the peer has taken nothing for ``seconds``.

        ``slow_size`` is what would be unsent if it had taken nothing since the last look:
        more that was written meanwhile must not hide that it reads.
        """
        if not self.slow_since or self.transport is None:
            return False
        size = unsent(self.transport)
        if size < self.slow_size and self.slow_size < _UNKNOWN:
            self.slow_since = now
        self.slow_size = size
        return now - self.slow_since >= seconds

    async def drained(self) -> None:
        """Return once the socket is not slow, or is gone."""
        while self.slow_since and self.transport is not None:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the socket is gone."""
        self.transport = None
        self.live = False
        self._release()

    def _release(self) -> None:
        waiter, self._drained = self._drained, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
