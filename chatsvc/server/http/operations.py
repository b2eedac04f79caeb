"""Build the routes of operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

from chatsvc.api.access import Caller
from chatsvc.api.body import StreamedReply
from chatsvc.api.operation import Operation, Reply
from chatsvc.auth.principal import Authenticator
from chatsvc.core.errors import RequestError
from chatsvc.core.limits import Limits
from chatsvc.server.errors import ExpectationFailed
from chatsvc.server.http.declarations import check_declaration, has_json_body, routed_path
from chatsvc.server.http.decoding import (
    bearer_token,
    body_decoder,
    check_no_query,
    header_decoder,
    parameter_decoder,
    path_decoder,
    read_body,
    read_optional_body,
    too_large,
)
from chatsvc.server.http.loopback import check_local, check_page
from chatsvc.server.http.middleware import EXCHANGE
from chatsvc.server.http.responses import ReadyResponse, header_lines
from chatsvc.server.http.streaming import check_streamed, read_parts, streamed_response
from chatsvc.server.token_check import check_token

_encode = msgspec.json.Encoder().encode


def route(
    operation: Operation,
    authenticator: Authenticator,
    limits: Limits,
    origins: frozenset[str],
    middleware: Middleware,
    paths: Collection[str] = (),
) -> web.RouteDef:
    """Return the route of an operation.

    Args:
        middleware: that of the application, for what is refused before it.
        origins: their pages may call operations that are ``own_pages_only``.
        paths: of all operations.

    Raises:
        ValueError: its declaration contradicts itself.
    """
    check_declaration(operation)
    return web.route(
        operation.method,
        routed_path(operation.path, paths),
        handler(operation, authenticator, limits, origins),
        name=operation.name,
        expect_handler=_expect(_max_bytes(operation, limits), middleware),
    )


def handler(
    operation: Operation, authenticator: Authenticator, limits: Limits, origins: frozenset[str]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler: authenticate, decode, call, respond; the middleware handles errors."""
    call, access = operation.handler, operation.access
    needs_token, needs_check, known = access.needs_token, access.needs_check, authenticator.known
    stream, check = operation.stream, operation.check
    has_body, max_bytes = has_json_body(operation), limits.body_bytes
    decode_body, decode_parameters = body_decoder(operation.request), parameter_decoder(operation)
    decode_headers, decode_path = header_decoder(operation), path_decoder(operation)
    read = read_optional_body if operation.body_optional else read_body
    path, quiet = operation.path, operation.quiet
    is_guarded = operation.local_only or operation.own_pages_only

    async def handle(request: web.Request) -> web.StreamResponse:
        exchange = request[EXCHANGE]
        exchange.route, exchange.quiet = path, quiet
        caller: Caller | None = None
        if is_guarded:
            _check_origin(request, operation, origins)
        if needs_token:
            token = bearer_token(request)
            caller = known(token) or await check_token(authenticator, token)
            exchange.user = caller.user
            if needs_check:
                access.check(caller)
        if has_body:
            if "?" in request.raw_path:
                check_no_query(request)
            value = decode_body(await read(request, max_bytes))
        else:
            value = decode_parameters(request)
            if check is not None and request.method == "HEAD":
                check(caller, value)
                return ReadyResponse(200, None)
        more = () if decode_headers is None else (decode_headers(request),)
        if decode_path is not None:
            more = (*more, decode_path(request))
        if stream is not None:
            check_streamed(request, stream)
            more = (*more, read_parts(request, stream))
        reply: Reply = await call(caller, value, *more)
        status, body, headers, exchange.message_id = reply
        lines = "" if headers is None else header_lines(headers)
        if isinstance(body, StreamedReply):
            return await streamed_response(status, body, lines)
        ready = body if isinstance(body, bytes) else _encode(body)
        return ReadyResponse(status, ready, lines)

    return handle


def _check_origin(request: web.Request, operation: Operation, origins: frozenset[str]) -> None:
    if operation.local_only:
        check_local(request)
    if operation.own_pages_only:
        check_page(request, origins)


def _max_bytes(operation: Operation, limits: Limits) -> int:
    return limits.body_bytes if operation.stream is None else operation.stream.max_bytes


def direct(table: dict[tuple[str, str], Handler], route: Handler) -> Handler:
    """Return a handler that finds routes without aiohttp's router.

    Other paths, other spellings of a path and requests with ``Expect`` use the router.

    Args:
        table: method and path → handler with its middleware, without variable parts.
        route: aiohttp's router.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        found = table.get((request.method, request.raw_path.partition("?")[0]))
        if found is None or "Expect" in request.headers:
            return await route(request)
        return await found(request)

    return handle


def _expect(
    max_bytes: int, middleware: Middleware
) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    """Return a handler of ``Expect: 100-continue`` (RFC 9110 §10.1.1).

    A body that would be refused for its length is not requested. aiohttp calls this before the
    middleware, which a refusal needs for its log line as any other does.
    """

    def check(request: web.Request) -> None:
        if request.headers["Expect"].lower() != "100-continue":
            raise ExpectationFailed("the Expect header must be 100-continue")
        if request.content_length is not None and request.content_length > max_bytes:
            raise too_large(max_bytes)

    async def expect(request: web.Request) -> web.StreamResponse | None:
        if request.version < HttpVersion11:
            return None  # it must be ignored
        try:
            check(request)
        except RequestError as exc:
            response = await middleware(request, _raise(exc))
            response.force_close()
            return response
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # or an error would look like one during a response
        return None

    return expect


def _raise(exc: RequestError) -> Handler:
    """Return a handler that raises it, for the middleware to answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        raise exc

    return handle
