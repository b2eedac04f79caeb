"""Accept connections from the listening sockets, within the connection limits.

The servers of the event loops cannot pause. When descriptors run out, asyncio logs each
attempt and uvloop retries without end, and both use a whole processor. Here accepting stops
at a limit and resumes below it; meanwhile clients wait in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog
from aiohttp import web

from chatsvc.core.errors import TooManyRequests
from chatsvc.server.errors import PROBLEM_TYPE, failure
from chatsvc.server.http.connection_limits import ConnectionLimits, address_key
from chatsvc.server.http.middleware import new_request_id
from chatsvc.server.http.protocol import ProblemRunner

_BATCH: Final = 64
_TRANSIENT_ERRORS: Final = frozenset(
    # accept(2): errors of the new connection, not of the listening socket.
    {
        errno.EAGAIN, errno.EINTR, errno.ECONNABORTED, errno.EPROTO, errno.EPERM,
        errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
        errno.EOPNOTSUPP, errno.ENETUNREACH,
    }
)  # fmt: skip
_PAUSE_SECONDS: Final = 0.25
_LOG_SECONDS: Final = 60.0

_log = structlog.get_logger("chatsvc.http")


async def accept_on(
    runner: ProblemRunner,
    listeners: Sequence[socket.socket],
    *,
    sockets: Callable[[], int],
    limits: ConnectionLimits,
) -> list[AcceptingSite]:
    """Accept on each of ``listeners``, until the runner ends.

    Args:
        sockets: returns the number of open WebSockets.
    """
    server = runner.problem_server
    sites = [
        AcceptingSite(runner, listener, connections=server, sockets=sockets, limits=limits)
        for listener in listeners
    ]

    def capacity_freed() -> None:
        for site in sites:
            site.capacity_freed()

    server.on_capacity = capacity_freed
    for site in sites:
        await site.start()
    return sites


class Connections(Protocol):
    """The open connections of the server, and a protocol for each new one."""

    open: int
    """The number of open plain connections."""

    by_address: Counter[str]
    """The same by address, including those that were accepted a moment ago."""

    def close_unused(self) -> int:
        """Close unused connections; return how many."""

    def connection_from(self, address: str) -> asyncio.Protocol:
        """Return the protocol of an accepted connection."""


class AcceptingSite(web.BaseSite):
    """A listening socket, from :meth:`start` to the end of the runner.

    ``pauses`` counts how often accepting stopped, ``refused`` counts connections beyond the
    limit of their address.

    Args:
        connections: the open connections.
        sockets: returns the number of open WebSockets.
    """

    __slots__ = (
        "_connections", "_limits", "_listener", "_logged", "_loop", "_opening", "_paused",
        "_sockets", "_timer", "pauses", "refused",
    )  # fmt: skip

    def __init__(
        self,
        runner: web.BaseRunner,
        listener: socket.socket,
        *,
        connections: Connections,
        sockets: Callable[[], int],
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(runner)
        self._listener = listener
        self._connections = connections
        self._sockets = sockets
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[Any]] = set()
        self._paused = True
        self._timer: asyncio.TimerHandle | None = None
        self._logged: dict[str, float] = {}
        self.pauses = 0
        self.refused = 0

    @property
    def name(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Start to accept."""
        await super().start()
        self._resume()

    async def stop(self) -> None:
        """Stop accepting; accepted connections stay open."""
        if not self._paused:
            self._pause_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()
        await super().stop()

    def capacity_freed(self) -> None:
        """Resume if accepting is paused: a connection was closed, or time has passed."""
        if self._paused and self._listener.fileno() >= 0 and self._has_capacity():
            self._resume()

    def _has_capacity(self) -> bool:
        limits, plain = self._limits, self._connections.open + len(self._opening)
        return plain < limits.plain and plain + self._sockets() < limits.total

    def _resume(self) -> None:
        self._paused = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _pause_reading(self) -> None:
        self._paused = True
        self._loop.remove_reader(self._listener.fileno())

    def _wait_for_capacity(self) -> None:
        if self._connections.close_unused():
            self._pause_reading()  # until they are closed, which is immediate
            self._timer = self._loop.call_later(_PAUSE_SECONDS, self._try_resume)
        else:
            self._pause("bound")

    def _pause(self, reason: str) -> None:
        self._pause_reading()
        self.pauses += 1
        self._timer = self._loop.call_later(_PAUSE_SECONDS, self._try_resume)
        self._warn(
            "accept_paused",
            reason=reason,
            connections=self._connections.open,
            sockets=self._sockets(),
            times=self.pauses,
        )

    def _try_resume(self) -> None:
        if self._has_capacity():
            self._resume()
        else:
            self._connections.close_unused()
            self._timer = self._loop.call_later(_PAUSE_SECONDS, self._try_resume)

    def _warn(self, event: str, **fields: object) -> None:
        """Log each event at most once a minute: an attacker can cause many."""
        now = self._loop.time()
        if now - self._logged.get(event, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._logged[event] = now
            _log.warning(event, **fields)

    def _accept(self) -> None:
        """Accept what the listening socket has, up to a batch."""
        for _ in range(_BATCH):
            if not self._has_capacity():
                self._wait_for_capacity()
                return
            try:
                accepted, address = self._listener.accept()
            except OSError as exc:
                if exc.errno not in _TRANSIENT_ERRORS:
                    self._pause(errno.errorcode.get(exc.errno or 0, "unknown"))
                return
            self._take(accepted, address)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        accepted.setblocking(False)
        limits = self._limits
        key = ""
        if limits.per_address:
            key = address_key(address[0], count_private=limits.count_private)
            if key and self._connections.by_address[key] >= limits.per_address:
                self._refuse(accepted, key)
                return
            if key:
                self._connections.by_address[key] += 1
        opening = self._loop.create_task(self._open(accepted, key))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, key: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._connections.connection_from(key), accepted
            )
        except OSError as exc:  # the client has closed it already
            if key:
                self._connections.by_address.subtract([key])
            accepted.close()
            _log.debug("connection_lost_at_once", error=exc.strerror)

    def _refuse(self, accepted: socket.socket, key: str) -> None:
        self.refused += 1
        self._warn("address_refused", address=key, bound=self._limits.per_address)
        try:
            accepted.send(_too_many(self._limits.per_address))
        except OSError as exc:
            _log.debug("connection_lost_at_once", error=exc.strerror)
        finally:
            accepted.close()


def _too_many(bound: int) -> bytes:
    """Return a complete response: no request was read."""
    exc = TooManyRequests(
        f"an address must have at most {bound} HTTP connections open",
        code="too_many_connections",
        retry_after=1.0,
    )
    failed = failure(exc, new_request_id())
    head = (
        f"HTTP/1.1 {failed.status} Too Many Requests\r\nContent-Type: {PROBLEM_TYPE}\r\n"
        f"Content-Length: {len(failed.body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + failed.body
