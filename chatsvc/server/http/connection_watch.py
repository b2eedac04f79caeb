"""Check all plain HTTP connections periodically, and close those that make no progress.

Covered are heads that do not arrive, responses that are not read, and connections that must
be closed to admit new ones. A timer for each request would cost every request; this costs
one check of each connection per second. Each connection stores its state of the last check:
how many responses were begun and how many bytes were unsent. Another response, or fewer
bytes, is progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from aiohttp.web_protocol import RequestHandler

from chatsvc.delivery.transports import reset, unsent
from chatsvc.server.http.connection import BoundedConnection

HEAD_SECONDS: Final = 10.0
"""The time limit from the connection, or from a head's first byte, to the head's end."""

UNSENT_BYTES: Final = 256 * 1024 * 1024
"""The maximum of unsent bytes of all connections together; beyond it the connections without
progress for the longest time are aborted."""

_TICK_SECONDS: Final = 1.0
_STOPPING_TICK_SECONDS: Final = 0.1
_STOPPING_STALL_SECONDS: Final = 1.0
_UNUSED_SECONDS: Final = 1.0
_CLOSE_UNUSED_PAUSE_SECONDS: Final = 0.25
_SLICE: Final = 1000

_logger = structlog.get_logger("chatsvc.http")

Connections = dict[RequestHandler, asyncio.Transport]


class _Candidate(NamedTuple):
    since: float
    transport: asyncio.Transport


class ConnectionWatch:
    """Checks the connections of one server.

    ``aborted`` counts responses that were aborted, ``heads_expired`` heads that did not arrive
    in time, ``closed_for_capacity`` connections that were closed to admit new ones.

    Args:
        connections: the open connections, in aiohttp's own mapping.
        stall_seconds: how long unsent bytes may stay without progress.
        on_tick: called after each check.
    """

    def __init__(
        self, connections: Connections, *, stall_seconds: float, on_tick: Callable[[], None]
    ) -> None:
        self._connections = connections
        self._stall_seconds = stall_seconds
        self._on_tick = on_tick
        self._stopping = False
        self._last_close_unused = 0.0
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self.aborted = 0
        self.heads_expired = 0
        self.closed_for_capacity = 0

    def start(self) -> None:
        """Start the periodic check."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="connection watch")

    def begin_shutdown(self) -> None:
        """Use the short limits of a shutdown: clients that do not read are not waited for."""
        self._stopping = True

    async def stop(self) -> None:
        """Stop the periodic check; connections stay open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        usual = min(_TICK_SECONDS, self._stall_seconds / 4)
        while True:
            await asyncio.sleep(_STOPPING_TICK_SECONDS if self._stopping else usual)
            try:
                await self._inspect(loop.time())
                self._on_tick()
            except Exception:
                # One connection's trouble must not end the watch over all others.
                _logger.exception("connection_watch_failed")

    async def _inspect(self, now: float) -> None:
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
                continue
            if handler.progress[1]:  # all was taken: what comes next has all of the time
                handler.progress = (handler.answers, 0)
            if handler.head_since and now - handler.head_since >= HEAD_SECONDS:
                self.heads_expired += 1
                handler.expire_head()
        self._unsent = waiting
        if stalled:
            self.aborted += stalled
            _logger.warning("answers_not_read", connections=stalled, unsent=waiting)
        if waiting > UNSENT_BYTES:
            self._abort_slowest(now)

    def response_started(self, size: int) -> None:
        """Count a large response that is about to be written: there may be many between checks."""
        self._unsent += size
        if self._unsent > UNSENT_BYTES:
            self._abort_slowest(asyncio.get_running_loop().time())

    def _abort_slowest(self, now: float) -> None:
        """Abort connections, those without progress first, until the unsent bytes fit the bound."""
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

    def close_unused(self) -> int:
        """Close half of the unused connections, those unused for the longest time first.

        Unused means, for at least a second: no request to answer, part of a head or of a body,
        or a response without progress.

        Returns:
            How many were closed.
        """
        now = asyncio.get_running_loop().time()
        if now - self._last_close_unused < _CLOSE_UNUSED_PAUSE_SECONDS:
            return 0
        self._last_close_unused = now
        unused = self._slow(now)
        for handler, transport in self._connections.items():
            if not isinstance(handler, BoundedConnection) or transport.get_write_buffer_size():
                continue
            if handler.waiting:
                unused.append(_Candidate(handler.waiting_since, transport))
            elif handler.body_since:
                unused.append(_Candidate(handler.body_since, transport))
        unused = sorted(
            (one for one in unused if now - one.since >= _UNUSED_SECONDS), key=lambda one: one.since
        )
        closing = unused[: len(unused) // 2 + 1]
        for one in closing:
            reset(one.transport)
        self.closed_for_capacity += len(closing)
        return len(closing)

    def _slow(self, now: float) -> list[_Candidate]:
        """Return the connections with unsent bytes."""
        found: list[_Candidate] = []
        for handler, transport in self._connections.items():
            if transport.get_write_buffer_size() and isinstance(handler, BoundedConnection):
                found.append(_Candidate(_last_moved(handler, transport, now), transport))
        return found


def _last_moved(handler: BoundedConnection, transport: asyncio.Transport, now: float) -> float:
    size = unsent(transport)
    answers, before = handler.progress
    if answers != handler.answers or size < before or not before:
        handler.moved_at = now
    handler.progress = (handler.answers, size)
    return handler.moved_at
