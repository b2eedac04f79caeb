"""Handle the opening handshake (RFC 6455 §4.2) and take the transport over from aiohttp."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from chatsvc.api.fields import read_kinds
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import (
    ChatError,
    Invalid,
    LogUnavailable,
    Malformed,
    TokenExpired,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from chatsvc.core.message import check_device
from chatsvc.delivery.resume import Plan
from chatsvc.server.aiohttp_internals import release
from chatsvc.server.errors import HeadersTooLarge, UpgradeRequired
from chatsvc.server.http.decoding import read_query, shown
from chatsvc.server.http.middleware import EXCHANGE
from chatsvc.server.token_check import check_token
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.socket import Socket
from chatsvc.wire import close_codes, frames
from chatsvc.wire.protocol import BEARER_PREFIX, PROTOCOL_VERSION

_PARAMETERS: Final = frozenset({"since", "echo", "device", "receipts", "kinds"})
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_OVERLOAD_RETRY_MS: Final = 5000
_OFFERED_BYTES: Final = 16 * 1024
_MAX_OFFERED: Final = 32


class HandshakeParameters(NamedTuple):
    """The query parameters of ``GET /ws``."""

    since: str | None
    echo: bool
    device: str | None
    receipts: bool
    kinds: frozenset[str] | None


class Upgraded(web.StreamResponse):
    """A response that is already sent, so that aiohttp does not write to the transport."""

    def __init__(self) -> None:
        super().__init__(status=101)

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None

    @property
    def keep_alive(self) -> bool | None:
        return False


class WebSocketEndpoint:
    """The handler of ``GET /ws``.

    A client with a bearer token in its ``Authorization`` header is refused with a problem
    document. A browser cannot read one: if the token came as a subprotocol, the upgrade is
    accepted and closed immediately with a close code. A browser also sends an
    ``Authorization`` of another scheme if a proxy asked for it; that header is ignored.
    """

    def __init__(self, parts: SocketParts) -> None:
        self._parts = parts
        self._known = parts.authenticator.known

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        key = _handshake_key(request)
        offered = _offered(request)
        header = _authorization(request, offered)
        by_header = header is not None or not offered
        try:
            parameters = _parameters(request)
            token = _token(header, offered)
            principal = self._known(token) or await check_token(self._parts.authenticator, token)
            request[EXCHANGE].user = principal.user
            if offered and PROTOCOL_VERSION not in offered:
                return self._refuse(
                    request, key, offered, close_codes.PROTOCOL_VERSION, "protocol version"
                )
            self._check_capacity(principal)
            plan = await self._plan(principal, parameters)
            self._check_capacity(principal)  # again: the store may have answered slowly
        except ChatError as exc:
            if by_header:
                raise
            request[EXCHANGE].error = exc
            code, reason = _close_for(exc)
            return self._refuse(request, key, offered, code, reason)
        return self._open(request, key, offered, principal, parameters, plan)

    async def _plan(self, principal: Principal, parameters: HandshakeParameters) -> Plan | None:
        if parameters.since is None:
            return None
        return await self._parts.resumer.plan(principal.user, parameters.since, parameters.kinds)

    def _check_capacity(self, principal: Principal) -> None:
        options, registry = self._parts.options, self._parts.registry
        if registry.draining:
            raise LogUnavailable("the service is shutting down", code="shutting_down")
        if len(registry.sockets) >= options.max_connections:
            limit = options.max_connections
            raise Unavailable(
                f"the service must not have more than {limit} connections",
                code="overload",
                retry_after=_OVERLOAD_RETRY_MS / 1000,
            )
        if registry.count_of_user(principal.user) >= options.max_connections_per_user:
            limit = options.max_connections_per_user
            raise TooManyRequests(
                f"a user must not have more than {limit} connections",
                code="too_many_connections",
                retry_after=_OVERLOAD_RETRY_MS / 1000,
            )

    def _open(
        self,
        request: web.Request,
        key: str,
        offered: list[str],
        principal: Principal,
        parameters: HandshakeParameters,
        plan: Plan | None,
    ) -> web.StreamResponse:
        connection_id = secrets.token_hex(8)
        socket = Socket(
            self._parts,
            principal,
            connection_id=connection_id,
            device=parameters.device or "",
            echo=parameters.echo,
            receipts=parameters.receipts,
            kinds=parameters.kinds,
        )
        exchange = request[EXCHANGE]
        exchange.quiet = True  # the socket logs its own line
        taken = _take_over(request, socket)
        if taken is not None:
            transport, early = taken
            answer = _accept(request, key, offered)
            socket.begin(transport, plan, answer, exchange.request_id)
            if early:
                socket.data_received(early)
        return Upgraded()

    def _refuse(
        self, request: web.Request, key: str, offered: list[str], code: int, reason: str
    ) -> web.StreamResponse:
        request[EXCHANGE].close_code = code
        taken = _take_over(request, _Refused(request.transport))
        if taken is not None:
            transport, _ = taken
            transport.write(_accept(request, key, offered) + frames.encode_close(code, reason))
            asyncio.get_running_loop().call_later(1.0, transport.abort)
        return Upgraded()


class _Refused(asyncio.Protocol):
    """The protocol of a refused socket: closes when the client sends anything."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.close()


def _take_over(
    request: web.Request, protocol: asyncio.Protocol
) -> tuple[asyncio.Transport, bytes] | None:
    """Replace aiohttp's handler by ``protocol``, which is to answer the handshake.

    Returns:
        The transport and the bytes that arrived behind the handshake; ``None`` if the client
        has disconnected already.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return None
    transport, early = release(request, protocol)
    if transport.is_closing():
        return None
    transport.resume_reading()  # aiohttp pauses if much arrived behind the handshake
    return transport, early


def _accept(request: web.Request, key: str, offered: list[str]) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {frames.accept_key(key)}",
    ]
    if offered:
        # One of the offered subprotocols must be chosen, or a browser fails the connection.
        chosen = PROTOCOL_VERSION if PROTOCOL_VERSION in offered else offered[0]
        lines.append(f"Sec-WebSocket-Protocol: {chosen}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _handshake_key(request: web.Request) -> str:
    headers = request.headers
    if request.version < HttpVersion11:
        raise UpgradeRequired("a WebSocket handshake must be a request of HTTP/1.1")
    if "websocket" not in _tokens(request, "Upgrade") or "upgrade" not in _tokens(
        request, "Connection"
    ):
        raise UpgradeRequired("a request to a WebSocket endpoint must be an upgrade")
    if headers.getall("Sec-WebSocket-Version", []) != ["13"]:
        raise UpgradeRequired("Sec-WebSocket-Version must be 13 (RFC 6455)")
    keys = headers.getall("Sec-WebSocket-Key", [])
    key = keys[0] if len(keys) == 1 else ""  # RFC 6455 §11.3.1: not more than once
    try:
        good = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        good = False
    if not good:
        raise Malformed("Sec-WebSocket-Key must be 16 bytes in base64", code="bad_handshake")
    return key


def _tokens(request: web.Request, name: str) -> set[str]:
    """Return the members of a list header (RFC 9110 §5.6.1) in lower case.

    Proxies add members, to the same line or on a line of their own.
    """
    lines = request.headers.getall(name, ())
    return {part.strip().lower() for line in lines for part in line.split(",")}


def _offered(request: web.Request) -> list[str]:
    """Return the offered subprotocols, whose size is checked before they are parsed.

    Raises:
        HeadersTooLarge: too many bytes or too many subprotocols.
    """
    values = request.headers.getall("Sec-WebSocket-Protocol", ())
    if sum([len(value) for value in values]) > _OFFERED_BYTES:
        raise HeadersTooLarge(f"subprotocols must have at most {_OFFERED_BYTES} bytes together")
    if sum([value.count(",") + 1 for value in values]) > _MAX_OFFERED:
        raise HeadersTooLarge(f"subprotocols must be at most {_MAX_OFFERED}")
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _authorization(request: web.Request, offered: list[str]) -> str | None:
    """Return the ``Authorization`` header to check.

    That is the one of the scheme Bearer; without one the first, unless subprotocols are
    offered, which then must have the token.
    """
    lines = request.headers.getall("Authorization", [])
    ours = [line for line in lines if line.partition(" ")[0].lower() == "bearer"]
    if ours:
        # Two tokens are a mistake or an attack: neither is accepted.
        return ours[0] if len(ours) == 1 else ""
    return lines[0] if lines and not offered else None


def _token(header: str | None, offered: list[str]) -> str:
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Authorization must be 'Bearer' and one token", code="token_missing")
        return token.strip()
    for protocol in offered:
        if protocol.startswith(BEARER_PREFIX):
            return protocol.removeprefix(BEARER_PREFIX)
    raise Unauthorized(
        "the request must have a token: Authorization, or the subprotocol bearer.<jwt>",
        code="token_missing",
    )


def _parameters(request: web.Request) -> HandshakeParameters:
    query = read_query(request)
    for name in query:
        if name not in _PARAMETERS:
            detail = f"unknown parameter {shown(name)!r}"
            raise Invalid.at(f"/{shown(name)}", "unknown_parameter", detail)
    device = query.get("device")
    if device is not None:
        check_device(device)
    receipts = query.get("receipts")
    if receipts not in (None, "stored"):
        raise Invalid.at("/receipts", "bad_value", "receipts must be 'stored', or not be given")
    kinds = query.get("kinds")
    return HandshakeParameters(
        query.get("since"),
        _flag(query, "echo"),
        device,
        receipts is not None,
        None if kinds is None else read_kinds(kinds),
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in _FLAGS:
        raise Invalid.at(f"/{name}", "bad_value", f"{name} must be true or false")
    return _FLAGS[value]


def _close_for(exc: ChatError) -> tuple[int, str]:
    if isinstance(exc, TokenExpired):
        return close_codes.TOKEN_EXPIRED, "token expired"
    if isinstance(exc, Unauthorized):
        return close_codes.TOKEN_INVALID, exc.code
    if isinstance(exc, TooManyRequests):
        retry = close_codes.reason_with_retry("connections", _OVERLOAD_RETRY_MS)
        return close_codes.OVERLOAD, retry
    if isinstance(exc, LogUnavailable):
        return close_codes.RESTART, close_codes.reason_with_retry("restart", 1000)
    if isinstance(exc, Unavailable):
        retry = close_codes.reason_with_retry("overload", _OVERLOAD_RETRY_MS)
        return close_codes.OVERLOAD, retry
    return close_codes.FORBIDDEN, getattr(exc, "code", "refused")
