"""A plain HTTP connection: bounded, with problem documents for aiohttp's own errors too.

aiohttp bounds a line and the number of fields, but neither a head as a whole nor the time in
which it must arrive. :class:`~chatsvc.server.http.connection_watch.ConnectionWatch` checks the time
limits of all connections.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest

from chatsvc.server.aiohttp_internals import (
    OpenRequestHandler,
    bound_queue,
    head_of,
    is_waiting,
    queue_error,
    stop_parsing,
    waiting_since,
)
from chatsvc.server.http.foreign_upgrade import ForeignUpgrade, after_upgrade, is_foreign
from chatsvc.server.http.request_line import to_origin_form
from chatsvc.server.http.responses import ReadyResponse

HEAD_BYTES: Final = 64 * 1024
"""The maximum size of a request line with all header fields, and of trailers after a body."""

HEAD_END_BYTES: Final = 3
"""A head ends with four bytes: so many of them can be in the reads before its last."""

PROGRESS_BYTES: Final = 16 * 1024
"""A body makes progress when it has received so many more bytes."""

QUEUED_REQUESTS: Final = 4
"""With this many pipelined requests, reading pauses until some are answered."""


class HeadTooLarge(HttpProcessingError):
    """A head, or trailers, larger than :data:`HEAD_BYTES`."""

    code = 431
    message = "the head is too large"


class HeadTooSlow(HttpProcessingError):
    """A head that did not arrive in time."""

    code = 408
    message = "the head did not arrive in time"


class OutsideResponses(Protocol):
    """The responses to what never reaches a route."""

    def failed(
        self, request: BaseRequest, exc: BaseException | None, status: int, *, begun: bool
    ) -> web.StreamResponse:
        """Return the response to a request that is not HTTP, or that failed.

        Raises:
            ConnectionError: a response was ``begun`` already; no other one can be sent.
        """

    def refused(self, request: web.Request, response: web.HTTPException) -> web.StreamResponse:
        """Return the response in place of one that aiohttp made."""


class BoundedConnection(OpenRequestHandler):
    """One connection.

    ``head_since``: the time since which a head is incomplete (for the first one, nothing may
    have arrived), 0 while there is none. ``answers``: the number of responses that were begun.
    ``body_since``: the time since which an incomplete body has made no progress, 0 while there
    is none.
    ``progress`` and ``moved_at`` belong to the connection watch.

    Args:
        outside: makes the responses to what never reaches a route.
        large_response: called with the size of a large response that is about to be written.
        address: the key under which it is counted; empty: not counted.
    """

    __slots__ = (
        "_body",
        "_body_mark",
        "_foreign",
        "_half_closed",
        "_head_end",
        "_large_response",
        "_outside",
        "_refused",
        "_unparsed",
        "address",
        "answers",
        "body_since",
        "head_since",
        "moved_at",
        "progress",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        outside: OutsideResponses,
        large_response: Callable[[int], None],
        address: str = "",
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._outside = outside
        self._large_response = large_response
        self._foreign: ForeignUpgrade | None = None
        bound_queue(self, QUEUED_REQUESTS)
        self.address = address
        self.answers = 0
        self.head_since = self.moved_at = self.event_loop.time()
        self.body_since = 0.0
        self.progress = (0, 0)
        self._body: StreamReader | None = None
        self._body_mark = 0
        self._head_end = b""
        self._unparsed = 0
        self._refused = False
        self._half_closed = False

    @property
    def waiting(self) -> bool:
        """Whether there is no request to answer; it may then be closed (RFC 9112 §9.5)."""
        return is_waiting(self)

    @property
    def waiting_since(self) -> float:
        """The time since which it is :attr:`waiting`."""
        return self.head_since or waiting_since(self)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and bound the bytes that complete no request and add to no body."""
        if self._refused or self.close_after or self.force_closed:
            return
        count, body = self.request_count, self._body
        fed = 0 if body is None else body.total_bytes
        super().data_received(data)
        if self._foreign is not None:
            self._foreign.received(len(data))
        if self.request_count != count:
            self._body = None  # complete, or the next request could not have been parsed
            self._check_heads(self.request_count - count, data)
            self._head_end = b""
            self._unparsed = 0
            self.head_since = 0.0
            payload = self.queued[-1][1] if self.queued else EMPTY_PAYLOAD
            self._body = None if payload.is_eof() else payload
            self.body_since = 0.0 if self._body is None else self.event_loop.time()
            self._body_mark = payload.total_bytes
        elif body is not None and (body.is_eof() or body.total_bytes != fed):
            self._unparsed = 0
            if body.is_eof():
                self._body, self.body_since = None, 0.0
            elif body.total_bytes - self._body_mark >= PROGRESS_BYTES:
                self._body_mark, self.body_since = body.total_bytes, self.event_loop.time()
        elif not self.upgraded:
            if not self._unparsed:
                data = data.lstrip(b"\r\n")  # between requests they are nothing (RFC 9112 §2.2)
                if data and body is None:
                    self.head_since = self.event_loop.time()
            self._unparsed += len(data)
            self._head_end = (self._head_end + data)[-HEAD_END_BYTES:]
            if self._unparsed > HEAD_BYTES:
                self._refuse(HeadTooLarge())

    def expire_head(self) -> None:
        """Refuse a head that is too slow: 408, or only a close if nothing has arrived."""
        if self._unparsed:
            self._refuse(HeadTooSlow())
        else:
            self.force_close()

    def _check_heads(self, count: int, data: bytes) -> None:
        """Check the last ``count`` heads, which are complete with a read."""
        received = self._unparsed + len(data)
        last = len(self.queued) - 1
        for index in range(max(last + 1 - count, 0), last + 1):
            message, payload = self.queued[index]
            if not isinstance(message, RawRequestMessage):
                continue  # an error of the parser
            if message.upgrade and index == last:
                self._foreign = after_upgrade(self, count, self._head_end, data) or self._foreign
            in_bounds = received <= HEAD_BYTES and message.version == HttpVersion11
            if in_bounds and message.path.startswith("/"):
                continue  # the usual case: nothing to check
            try:
                if received > HEAD_BYTES and _head_bytes(message) > HEAD_BYTES:
                    raise HeadTooLarge
                request = to_origin_form(message)
            except HttpProcessingError as exc:
                while len(self.queued) > index:
                    self.queued.pop()
                self._refuse(exc)
                return
            if request is not message:
                self.queued[index] = (request, payload)

    def _refuse(self, exc: HttpProcessingError) -> None:
        """Answer with the error and stop reading; the parser and its data are freed."""
        self._refused = True
        self.head_since = 0.0
        stop_parsing(self)
        body, self._body, self.body_since = self._body, None, 0.0
        if body is not None:
            body.set_exception(RequestPayloadError("its framing is larger than its content"))
            return
        queue_error(self, exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep a half-closed connection until its requests are answered."""
        if self.upgraded or not self.request_count or self.waiting:
            return None
        body, self._body, self.body_since = self._body, None, 0.0
        if body is not None:
            body.set_exception(RequestPayloadError("the connection ended within the body"))
        self._half_closed = True
        self._close_behind_last()
        return True  # or the transport would be closed at once

    def _close_behind_last(self) -> None:
        if not self.queued:
            self.close_after = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading if it is paused.

        aiohttp calls this after each read piece of a body, paused or not, and its parser then
        searches for more each time.
        """
        if self.reading_paused:
            super().resume_reading(resume_parser)

    def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Count the response, and close after it where that was decided.

        An HTTP error that aiohttp raised outside the routes becomes a problem document.
        """
        if isinstance(resp, ReadyResponse) and resp.is_large:
            self._large_response(len(resp.ready_body or b""))
        if isinstance(resp, web.HTTPException) and isinstance(request, web.Request):
            resp = self._outside.refused(request, resp)
        if self._foreign is not None and self._foreign.unsure and is_foreign(head_of(request)):
            resp.force_close()
        self.answers += 1
        if self._half_closed:
            self._close_behind_last()
        if self._refused and not self.queued:  # not before the error itself is answered
            resp.force_close()
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that is not HTTP, or that failed outside the routes.

        Raises:
            ConnectionError: a response was begun already; no other one can be sent.
        """
        return self._outside.failed(request, exc, status, begun=request.writer.output_size > 0)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log an exception; a body that its client broke off is no error of the server's."""
        if not isinstance(kw.get("exc_info"), RequestPayloadError):
            super().log_exception(*args, **kw)


def _head_bytes(message: RawRequestMessage) -> int:
    fields = sum([len(name) + len(value) + 4 for name, value in message.raw_headers])
    return len(message.method) + len(message.path) + 12 + fields
