"""The HTTP/1.1 server: aiohttp's, with problem documents for its own errors too."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from chatsvc.server.aiohttp_internals import (
    OpenRunner,
    connections_of,
    handler_options,
    handler_tasks,
)
from chatsvc.server.http.connection import BoundedConnection
from chatsvc.server.http.connection_watch import ConnectionWatch
from chatsvc.server.http.middleware import Cors, Observe
from chatsvc.server.http.operations import direct
from chatsvc.server.http.outside_routes import HEADER_FIELD_BYTES, REQUEST_LINE_BYTES, OutsideRoutes

LINGER_SECONDS: Final = 5.0
"""How long an unread body is discarded after a refusal, so that the refusal arrives."""

SHUTDOWN_SECONDS: Final = 60.0
"""How long a shutdown without a time of its own may take."""

CORS: Final = web.AppKey("cors", Cors)
"""The pages of other origins that may call, if there are any."""

DIRECT: Final = web.AppKey("direct", dict[tuple[str, str], Handler])
"""Method and path → handler with its middleware, for routes without variable parts."""

_logger = structlog.get_logger("chatsvc.http")


class ProblemServer(web.Server):
    """Makes a :class:`BoundedConnection` for each connection, and monitors them.

    ``on_capacity`` is called when a connection was closed, and periodically. ``open``: the
    number of open connections; aiohttp's own list also has those whose handler has not ended.
    """

    def __init__(
        self, handler: Any, *, outside: OutsideRoutes, stall_seconds: float, **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._outside = outside
        self._handler_options = handler_options(self)
        self.open = 0
        self.by_address: Counter[str] = Counter()
        self.on_capacity: Callable[[], None] = _do_nothing
        self.watch = ConnectionWatch(
            connections_of(self), stall_seconds=stall_seconds, on_tick=self._capacity_freed
        )

    def __call__(self) -> RequestHandler:
        return self.connection_from("")

    def connection_from(self, address: str) -> RequestHandler:
        """Return the protocol of an accepted connection; ``address``: the key it counts under."""
        return BoundedConnection(
            self,
            outside=self._outside,
            large_response=self.watch.response_started,
            address=address,
            **self._handler_options,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count an opened connection."""
        super().connection_made(handler, transport)
        self.open += 1

    def close_unused(self) -> int:
        """Close unused connections; return how many."""
        return self.watch.close_unused()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count a connection that was closed or upgraded to a WebSocket."""
        super().connection_lost(handler, exc)
        self.open -= 1
        if isinstance(handler, BoundedConnection) and handler.address:
            left = self.by_address[handler.address] - 1
            if left > 0:
                self.by_address[handler.address] = left
            else:
                del self.by_address[handler.address]
        asyncio.get_running_loop().call_soon(self._capacity_freed)

    def _capacity_freed(self) -> None:
        self.on_capacity()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Answer requests in flight, then cancel the others, and wait until they have ended.

        Clients that do not read the response are not waited for.

        Args:
            timeout: the most that all of it takes; a half of it is for the answers.
        """
        seconds = SHUTDOWN_SECONDS if timeout is None else timeout
        connections = list(connections_of(self))
        handlers = handler_tasks(self)
        self.watch.begin_shutdown()
        try:
            # aiohttp waits for the answers, and as long again for handlers that read a body.
            async with asyncio.timeout(seconds * 3 / 4):
                await super().shutdown(seconds / 2)
        except TimeoutError:
            left = sum(not task.done() for task in handlers)
            _logger.warning("requests_cut_off", requests=left, seconds=seconds)
        finally:
            await self._end_handlers(connections, handlers, seconds / 4)
            await self.watch.stop()

    async def _end_handlers(
        self,
        connections: Sequence[RequestHandler],
        handlers: set[asyncio.Task[None]],
        seconds: float,
    ) -> None:
        """Cancel handlers that have not ended, so that none outlives what it works with."""
        left = {task for task in handlers if not task.done()}
        for task in left:
            task.cancel()
        for connection in connections:
            connection.force_close()
        if left:
            await asyncio.wait(left, timeout=seconds)


class ProblemRunner(OpenRunner):
    """Runs an application on a :class:`ProblemServer`.

    Args:
        stall_seconds: how long the unsent bytes of a response may stay without progress.
        keep_alive_seconds: how long a connection without a request is kept.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        observe: Observe,
        stall_seconds: float = 10.0,
        keep_alive_seconds: float = 75.0,
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=keep_alive_seconds,
            lingering_time=LINGER_SECONDS,
            max_line_size=REQUEST_LINE_BYTES,
            max_field_size=HEADER_FIELD_BYTES,
            auto_decompress=False,
        )
        self._observe = observe
        self._stall_seconds = stall_seconds
        self._problem_server: ProblemServer | None = None

    def replace_server(self, usual: web.Server) -> web.Server:
        """Return the server with problem documents."""
        server = ProblemServer(
            direct(self.app.get(DIRECT, {}), usual.request_handler),
            outside=OutsideRoutes(self._observe, self.app.get(CORS)),
            stall_seconds=self._stall_seconds,
            request_factory=usual.request_factory,
            **handler_options(usual),
        )
        server.watch.start()
        self._problem_server = server
        return server

    @property
    def problem_server(self) -> ProblemServer:
        """The server; only after ``setup()``."""
        assert self._problem_server is not None
        return self._problem_server


def _do_nothing() -> None:
    """Do nothing: no site waits for capacity."""
