"""What the program uses of aiohttp beyond its documented interface, all of it.

aiohttp offers nothing to bound a head as a whole, to see that a connection waits for a request,
or to let go of the transport of a WebSocket. Each such use is a name of this module, and
``tests/unit/server/test_aiohttp_internals.py`` fails where one of them is gone or means something
else. ``pyproject.toml`` admits only the minor version for which they were checked.

Attributes that every read of a connection needs are the descriptors of aiohttp's slots under
public names, which cost no call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol, TypeVar

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDictProxy
from yarl import URL

T = TypeVar("T")


class _Slot(Protocol[T]):
    """The descriptor of a slot, as the type checker sees it."""

    def __get__(self, instance: object, owner: type | None = None) -> T:
        """Return the value of the slot."""

    def __set__(self, instance: object, value: T) -> None:
        """Set the slot."""


def _slot(name: str) -> Any:
    """Return the descriptor of a slot of aiohttp's connection.

    Raises:
        AttributeError: there is none of this name, when this module is imported.
    """
    return getattr(RequestHandler, name)


class OpenRequestHandler(RequestHandler):
    """aiohttp's connection, with names for its private attributes.

    ``event_loop``: that it is of. ``request_count``: how many heads were parsed. ``queued``: heads,
    or errors of the parser, with their bodies, that no handler has taken yet. ``close_after``: no
    request is read after the one that is being answered. ``force_closed``: nothing is read or
    answered any more. ``upgraded``: what follows is no HTTP, and goes to ``tail``.
    ``reading_paused``: aiohttp reads nothing.
    """

    __slots__ = ()

    event_loop: _Slot[asyncio.AbstractEventLoop] = _slot("_loop")
    request_count: _Slot[int] = _slot("_request_count")
    queued: _Slot[deque[tuple[RawRequestMessage | _ErrInfo, StreamReader]]] = _slot("_messages")
    close_after: _Slot[bool] = _slot("_close")
    force_closed: _Slot[bool] = _slot("_force_close")
    upgraded: _Slot[bool] = _slot("_upgraded")
    tail: _Slot[bytes] = _slot("_message_tail")
    reading_paused: _Slot[bool] = _slot("_reading_paused")

    async def _drain_helper(self) -> None:
        """Wait until the transport accepts more, without a reference cycle.

        The method of aiohttp keeps the future in a frame that is in the traceback of the
        future's exception: a cycle that contains the response body.
        """
        if self.transport is None:
            raise ClientConnectionResetError("Connection lost")
        if not self._paused:
            return
        if self._drain_waiter is None:
            self._drain_waiter = self._loop.create_future()
        await self._drain_waiter


def bound_queue(handler: RequestHandler, requests: int) -> None:
    """Pause reading with so many pipelined requests; go on with half of them."""
    handler._max_msg_queue_size = requests
    handler._msg_queue_resume_size = requests // 2


def is_waiting(handler: RequestHandler) -> bool:
    """Return whether there is no request to answer."""
    return handler._waiter is not None and not handler._messages


def waiting_since(handler: RequestHandler) -> float:
    """Return the time of the loop since which a connection waits for its next request."""
    return handler._next_keepalive_close_time - handler._keepalive_timeout


def stop_parsing(handler: RequestHandler) -> None:
    """Free the parser and what it holds; nothing must be parsed after it."""
    handler._parser = None


def queue_error(handler: RequestHandler, error: HttpProcessingError) -> None:
    """Have an error answered in its turn, as one that the parser found."""
    handler._request_count += 1
    info = _ErrInfo(status=400, exc=error, message=error.message)
    handler._messages.append((info, EMPTY_PAYLOAD))
    if handler._waiter is not None and not handler._waiter.done():
        handler._waiter.set_result(None)


def release(request: web.Request, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes]:
    """Give the transport of a request to another protocol, which is to answer the request.

    aiohttp's handler is told that its connection is lost, so that its server removes it and its
    buffers are freed.

    Args:
        request: its transport is open.

    Returns:
        The transport, and what arrived behind the request.
    """
    handler = request.protocol
    transport = handler.transport
    assert transport is not None
    early = bytes(handler._message_tail)
    transport.set_protocol(protocol)
    handler.transport = None
    handler.connection_lost(None)
    return transport, early


def head_of(request: BaseRequest) -> RawRequestMessage:
    """Return the head of a request, as it was parsed."""
    return request._message


def with_target(
    message: RawRequestMessage, *, path: str, url: URL, headers: CIMultiDictProxy[str]
) -> RawRequestMessage:
    """Return a head with another target and other header fields."""
    changed: RawRequestMessage = message._replace(path=path, url=url, headers=headers)
    return changed


def connections_of(server: web.Server) -> dict[RequestHandler, asyncio.Transport]:
    """Return the open connections of a server: its own mapping, which changes with them."""
    return server._connections


def handler_options(server: web.Server) -> dict[str, Any]:
    """Return what a server makes each of its handlers with."""
    return {"loop": server._loop, **server._kwargs}


def handler_tasks(server: web.Server) -> set[asyncio.Task[None]]:
    """Return the tasks of a server's connections, each of which answers one request at a time."""
    tasks = (handler._task_handler for handler in server._connections)
    return {task for task in tasks if task is not None and not task.done()}


class OpenRunner(web.AppRunner):
    """An application's runner that can use another server than aiohttp's."""

    __slots__ = ()

    def replace_server(self, usual: web.Server) -> web.Server:
        """Return the server to use in place of ``usual``, which has started nothing."""
        raise NotImplementedError

    async def stop(self, seconds: float) -> None:
        """Close the listener, and take so long at most for the requests in flight."""
        self._shutdown_timeout = seconds
        await self.cleanup()

    async def _make_server(self) -> web.Server:
        return self.replace_server(await super()._make_server())
