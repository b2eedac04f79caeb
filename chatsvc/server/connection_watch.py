"""Looks after all plain HTTP connections at once: heads that do not come, answers that do not
go, and room for new connections.

A timer for each request would cost every request; this costs a look at each connection once
a second. What a connection was at the last look, it keeps itself: how many answers were
begun and how many bytes were unsent. Another answer, or fewer bytes, is progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from aiohttp.web_protocol import RequestHandler

from chatsvc.delivery.transports import reset, unsent
from chatsvc.server.http_connection import BoundedConnection

HEAD_SECONDS: Final = 10.0
"""From the connection, or from a head's first byte, to its last."""

UNSENT_BYTES: Final = 256 * 1024 * 1024
"""Unsent bytes of all connections together, beyond which those that moved last longest ago
are cut off."""

_TICK_SECONDS: Final = 1.0
_STOPPING_TICK_SECONDS: Final = 0.1
_STOPPING_STALL_SECONDS: Final = 1.0
_SPARE_SECONDS: Final = 1.0
_SPARE_LOOK_SECONDS: Final = 0.25
_SLICE: Final = 1000

_logger = structlog.get_logger("chatsvc.http")

Connections = dict[RequestHandler, asyncio.Transport]


class _Found(NamedTuple):
    since: float
    transport: asyncio.Transport


class ConnectionWatch:
    """Of one server.

    ``aborted`` counts answers that were cut off, ``heads_expired`` heads that did not come
    in time, ``closed_for_room`` connections that gave way to new ones.

    Args:
        connections: those that are open, as aiohttp keeps them.
        stall_seconds: how long unsent bytes may not shrink.
        on_tick: called after each look.
    """

    def __init__(
        self, connections: Connections, *, stall_seconds: float, on_tick: Callable[[], None]
    ) -> None:
        self._connections = connections
        self._stall_seconds = stall_seconds
        self._on_tick = on_tick
        self._stopping = False
        self._looked_for_room = 0.0
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self.aborted = 0
        self.heads_expired = 0
        self.closed_for_room = 0

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="connection watch")

    def hurry(self) -> None:
        """The service stops: who does not read now is not waited for."""
        self._stopping = True

    async def stop(self) -> None:
        """End; connections stay as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        usual = min(_TICK_SECONDS, self._stall_seconds / 4)
        while True:
            await asyncio.sleep(_STOPPING_TICK_SECONDS if self._stopping else usual)
            try:
                await self._look(loop.time())
                self._on_tick()
            except Exception:
                # One connection's trouble must not end the watch over all others.
                _logger.exception("connection_watch_failed")

    async def _look(self, now: float) -> None:
        stall = self._stall_seconds
        if self._stopping:
            stall = min(stall, _STOPPING_STALL_SECONDS)
        waiting = stalled = 0
        for count, (handler, transport) in enumerate(list(self._connections.items()), 1):
            if count % _SLICE == 0:
                await asyncio.sleep(0)
            if not isinstance(handler, BoundedConnection):
                continue
            size = transport.get_write_buffer_size()
            if size:
                if now - _last_moved(handler, transport, now) >= stall:
                    reset(transport)
                    stalled += 1
                else:
                    waiting += size
            elif handler.head_since and now - handler.head_since >= HEAD_SECONDS:
                self.heads_expired += 1
                handler.expire_head()
        self._unsent = waiting
        if stalled:
            self.aborted += stalled
            _logger.warning("answers_not_read", connections=stalled, unsent=waiting)
        if waiting > UNSENT_BYTES:
            self._relieve(now)

    def answer_begins(self, size: int) -> None:
        """A large answer is about to be written: between two looks there may be many."""
        self._unsent += size
        if self._unsent > UNSENT_BYTES:
            self._relieve(asyncio.get_running_loop().time())

    def _relieve(self, now: float) -> None:
        """Cut off, longest unmoved first, until what is unsent is within the bound."""
        slow = self._slow(now)
        waiting = sum(one.transport.get_write_buffer_size() for one in slow)
        cut = 0
        for one in sorted(slow, key=lambda one: one.since):
            if waiting <= UNSENT_BYTES:
                break
            waiting -= one.transport.get_write_buffer_size()
            reset(one.transport)
            cut += 1
        self._unsent = waiting
        if cut:
            self.aborted += cut
            _logger.warning("too_much_unsent", connections=cut, unsent=waiting, bound=UNSENT_BYTES)

    def make_room(self) -> int:
        """Close half of those that are of no use, the longest first: no request to answer, half
        a head, or an answer that has not moved, for a second at least.

        Returns:
            How many were closed.
        """
        now = asyncio.get_running_loop().time()
        if now - self._looked_for_room < _SPARE_LOOK_SECONDS:
            return 0
        self._looked_for_room = now
        spare = self._slow(now)
        for handler, transport in self._connections.items():
            if (
                isinstance(handler, BoundedConnection)
                and handler.waiting
                and not transport.get_write_buffer_size()
            ):
                spare.append(_Found(handler.waiting_since, transport))
        spare = sorted(
            (one for one in spare if now - one.since >= _SPARE_SECONDS), key=lambda one: one.since
        )
        gone = spare[: len(spare) // 2 + 1]
        for one in gone:
            reset(one.transport)
        self.closed_for_room += len(gone)
        return len(gone)

    def _slow(self, now: float) -> list[_Found]:
        """Those with unsent bytes."""
        found: list[_Found] = []
        for handler, transport in self._connections.items():
            if transport.get_write_buffer_size() and isinstance(handler, BoundedConnection):
                found.append(_Found(_last_moved(handler, transport, now), transport))
        return found


def _last_moved(handler: BoundedConnection, transport: asyncio.Transport, now: float) -> float:
    size = unsent(transport)
    answers, before = handler.progress
    if answers != handler.answers or size < before:
        handler.moved_at = now
    handler.progress = (handler.answers, size)
    return handler.moved_at
