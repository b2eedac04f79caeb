"""The middleware of every request: its id, its errors, its log line and its metrics."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from chatsvc.core.errors import ChatError, NotFound, TooLarge
from chatsvc.core.origins import LOOPBACK, is_loopback_page
from chatsvc.server.errors import (
    CLIENT_DISCONNECTED,
    PROBLEM_TYPE,
    ClientDisconnected,
    ExpectationFailed,
    MethodNotAllowed,
    failure,
    log_fields,
)
from chatsvc.server.http.responses import NoResponse, ReadyResponse, header_lines

REQUEST_ID: Final = "X-Request-Id"
UNMATCHED: Final = "unmatched"
_VALID_ID: Final = re.compile(r"[A-Za-z0-9._:+/=-]{1,64}\Z")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ALLOWED_HEADERS: Final = (
    "Authorization, Content-Type, Idempotency-Key, Chatsvc-Device, X-Request-Id"
)
_ANY_ORIGIN: Final = "Access-Control-Allow-Origin: *\r\n"
_EXPOSE: Final = (
    "Access-Control-Expose-Headers: "
    "Date, Location, Idempotent-Replayed, Retry-After, WWW-Authenticate, X-Request-Id\r\n"
)

Observe = Callable[[str, str, int, float], None]
"""Called with method, route, status and seconds, once per request."""

_log: Any = structlog.get_logger("chatsvc.http")


class Exchange:
    """The facts about a request, which handlers add while they process it."""

    __slots__ = ("close_code", "error", "message_id", "quiet", "request_id", "route", "user")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.route: str | None = None
        self.user: str | None = None
        self.message_id: str | None = None
        self.quiet = False
        self.error: Exception | None = None  # the error that refused the request
        self.close_code: int | None = None  # of a handshake that was refused by a close


EXCHANGE: Final = web.RequestKey("exchange", Exchange)

_process = secrets.token_hex(4)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """Return an id that is unique over processes, without random bytes for each."""
    return f"{_process}-{next(_numbers):x}"


def request_id_of(request: web.BaseRequest) -> str:
    """Return the id that the client gave the request, or a new one."""
    given = request.headers.get(REQUEST_ID)
    if given is not None and _VALID_ID.match(given):
        return given
    return new_request_id()


class Cors:
    """The pages that may call from a browser (the CORS protocol of the Fetch standard).

    Args:
        origins: as in ``Origin``; ``*`` for any, ``loopback`` for pages of this machine.
        headers: names of further request headers that such pages may send.
    """

    def __init__(self, origins: Iterable[str], headers: Iterable[str] = ()) -> None:
        self._origins = frozenset(origins)
        self._any = "*" in self._origins
        self._loopback = LOOPBACK in self._origins
        self._headers = ", ".join([_ALLOWED_HEADERS, *headers])

    def lines(self, request: web.BaseRequest) -> str:
        """Return the header lines of a response."""
        origin = request.headers.get("Origin")
        if self._any:
            allowed = _ANY_ORIGIN
        elif origin is not None and self._allows(origin):
            allowed = f"Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"
        else:
            return "Vary: Origin\r\n"
        return allowed + _EXPOSE

    def unknown_origin_lines(self) -> str:
        """Return the lines of a response to a request whose head could not be parsed.

        It holds nothing of anybody's: every page may read why its request was refused.
        """
        return f"{_ANY_ORIGIN}{_EXPOSE}"

    def _allows(self, origin: str) -> bool:
        if origin in self._origins:
            return origin != LOOPBACK  # a value of the setting, not an origin
        return self._loopback and is_loopback_page(origin)

    def preflight(self, request: web.BaseRequest, allow: str) -> str:
        """Return further header lines for the response to OPTIONS."""
        if "Access-Control-Request-Method" not in request.headers:
            return ""
        return (
            f"Access-Control-Allow-Methods: {allow}\r\n"
            f"Access-Control-Allow-Headers: {self._headers}\r\n"
            "Access-Control-Max-Age: 600\r\n"
        )


def problem_response(exc: BaseException, request_id: str) -> ReadyResponse:
    """Return the response with the problem document of an exception."""
    failed = failure(exc, request_id)
    return ReadyResponse(failed.status, failed.body, header_lines(failed.headers), PROBLEM_TYPE)


def from_aiohttp(exc: web.HTTPException) -> Exception:
    """Convert an HTTP error of aiohttp to an error of chatsvc."""
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allow = _allow(exc)
        return MethodNotAllowed(f"the method must be one of {', '.join(allow)}", allow=allow)
    if isinstance(exc, web.HTTPRequestEntityTooLarge):
        return TooLarge("the body must be smaller")
    if isinstance(exc, web.HTTPExpectationFailed):
        return ExpectationFailed("the Expect header must be 100-continue")
    if exc.status < 500:
        return NotFound("unknown path")
    return exc


def _allow(exc: web.HTTPMethodNotAllowed) -> tuple[str, ...]:
    return tuple(sorted({*exc.allowed_methods, "OPTIONS"}))


def exchange_middleware(*, observe: Observe, cors: Cors | None = None) -> Middleware:
    """Return the middleware.

    Args:
        observe: called once per request.
        cors: the pages of other origins that may call; ``None``: none.
    """

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        exchange = Exchange(request_id_of(request))
        request[EXCHANGE] = exchange
        try:
            response = await handler(request)
        except web.HTTPMethodNotAllowed as exc:
            if request.method == "OPTIONS":
                response = _options(request, exc, cors)
            else:
                response = problem_response(from_aiohttp(exc), exchange.request_id)
        except web.HTTPException as exc:
            response = problem_response(from_aiohttp(exc), exchange.request_id)
        except ClientDisconnected:
            response = NoResponse(CLIENT_DISCONNECTED)
        except ChatError as exc:
            exchange.error = exc
            response = problem_response(exc, exchange.request_id)
        except Exception as exc:  # noqa: BLE001 -- answered as 500, logged with its stack
            _log.exception("request_failed", request_id=exchange.request_id, user=exchange.user)
            response = problem_response(exc, exchange.request_id)
        add_lines(request, response, exchange, cors)
        finish_exchange(request, response, exchange, observe, time.perf_counter() - started)
        return response

    return around


def _options(
    request: web.Request, exc: web.HTTPMethodNotAllowed, cors: Cors | None
) -> ReadyResponse:
    allow = ", ".join(_allow(exc))
    lines = f"Allow: {allow}\r\n"
    if cors is not None:
        lines += cors.preflight(request, allow)
    return ReadyResponse(204, b"", lines)


def add_lines(
    request: web.Request, response: web.StreamResponse, exchange: Exchange, cors: Cors | None
) -> None:
    """Add the header lines that every response has."""
    lines = f"{REQUEST_ID}: {exchange.request_id}\r\n"
    if cors is not None:
        lines += cors.lines(request)
    if isinstance(response, ReadyResponse):
        response.lines += lines
    elif not response.prepared:
        for line in lines.splitlines():
            name, _, value = line.partition(": ")
            response.headers[name] = value


def finish_exchange(
    request: web.Request,
    response: web.StreamResponse,
    exchange: Exchange,
    observe: Observe,
    seconds: float,
) -> None:
    """Write the log line of a request, and count it."""
    route = exchange.route
    if route is None:
        resource = request.match_info.route.resource
        route = UNMATCHED if resource is None else resource.canonical
    method = request.method if request.method in _METHODS else "other"
    status = response.status
    observe(method, route, status, seconds)
    write = _log.info
    if status >= 500:
        write = _log.warning
    elif exchange.quiet and status < 400:
        write = _log.debug
    refusal: dict[str, object] = {} if exchange.error is None else {**log_fields(exchange.error)}
    if exchange.close_code is not None:
        refusal["close_code"] = exchange.close_code
    write(
        "request",
        method=method,
        route=route,
        status=status,
        ms=round(seconds * 1000, 2),
        user=exchange.user,
        request_id=exchange.request_id,
        message_id=exchange.message_id,
        **refusal,
    )
