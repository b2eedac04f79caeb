"""Responses to requests that reach no route: what is not HTTP, and what aiohttp itself refuses."""

from __future__ import annotations

from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from chatsvc.core.errors import Malformed, RequestError
from chatsvc.server.errors import (
    HeadersTooLarge,
    RequestTimeout,
    UriTooLong,
    VersionNotSupported,
    status_of,
)
from chatsvc.server.http.connection import HEAD_BYTES, HeadTooLarge, HeadTooSlow
from chatsvc.server.http.connection_watch import HEAD_SECONDS
from chatsvc.server.http.middleware import (
    REQUEST_ID,
    UNMATCHED,
    Cors,
    Exchange,
    Observe,
    add_lines,
    finish_exchange,
    from_aiohttp,
    new_request_id,
    problem_response,
    request_id_of,
)
from chatsvc.server.http.request_line import BadTarget, is_unsupported_version
from chatsvc.server.http.responses import ReadyResponse

REQUEST_LINE_BYTES: Final = 64 * 1024
HEADER_FIELD_BYTES: Final = 16 * 1024

_log: Any = structlog.get_logger("chatsvc.http")


class OutsideRoutes:
    """Makes the responses that no route makes, with their log lines and metrics.

    Args:
        observe: called once per request.
        cors: the pages of other origins that may read a response; ``None``: none.
    """

    def __init__(self, observe: Observe, cors: Cors | None) -> None:
        self._observe = observe
        self._cors = cors

    def failed(
        self, request: web.BaseRequest, exc: BaseException | None, status: int, *, begun: bool
    ) -> ReadyResponse:
        """Return the response to what is not HTTP, or failed; the connection closes after it.

        Raises:
            ConnectionError: ``begun``: a response was begun already, so no other can be sent.
        """
        request_id = new_request_id()
        if isinstance(exc, HttpProcessingError):
            error: BaseException = _from_parser(exc)
            _log.info("not_http", request_id=request_id, code=getattr(error, "code", None))
        else:
            error = exc if exc is not None else RuntimeError(f"status {status}")
            _log.error("request_failed", request_id=request_id, exc_info=exc)
        if begun:
            raise ConnectionError("the response was begun already")
        self._observe("other", UNMATCHED, status_of(error), 0.0)
        response = problem_response(error, request_id)
        response.lines += f"{REQUEST_ID}: {request_id}\r\n"
        if self._cors is not None:
            is_parsed = not isinstance(exc, HttpProcessingError)
            response.lines += (
                self._cors.lines(request) if is_parsed else self._cors.unknown_origin_lines()
            )
        response.force_close()
        return response

    def refused(self, request: web.Request, refusal: web.HTTPException) -> ReadyResponse:
        """Return the response to a request that aiohttp refused before its handler ran."""
        exchange = Exchange(request_id_of(request))
        exchange.error = from_aiohttp(refusal)
        response = problem_response(exchange.error, exchange.request_id)
        add_lines(request, response, exchange, self._cors)
        finish_exchange(request, response, exchange, self._observe, 0.0)
        return response


def _from_parser(exc: HttpProcessingError) -> RequestError:
    """Convert an error of the parser; its text may quote the request, so it is not repeated."""
    if isinstance(exc, HeadTooLarge):
        return HeadersTooLarge(f"the head must have at most {HEAD_BYTES} bytes")
    if isinstance(exc, HeadTooSlow):
        return RequestTimeout(f"the head must arrive within {HEAD_SECONDS:g} seconds")
    if isinstance(exc, LineTooLong):
        limit = exc.args[1] if len(exc.args) > 1 else None
        if limit == REQUEST_LINE_BYTES:
            return UriTooLong(f"the request line must have at most {REQUEST_LINE_BYTES} bytes")
        return HeadersTooLarge(f"a header field must have at most {HEADER_FIELD_BYTES} bytes")
    if is_unsupported_version(exc):
        return VersionNotSupported("the version must be HTTP/1.1 or HTTP/1.0")
    if isinstance(exc, BadTarget):
        return Malformed(
            "the target must be a path, or a URL of http or https without user information",
            code="not_http",
        )
    if "Too many headers" in str(exc):
        return HeadersTooLarge("the request must have at most 128 header fields")
    return Malformed("the request must be HTTP/1.1", code="not_http")
