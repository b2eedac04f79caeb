"""Which tokens are accepted, over HTTP and over the socket."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chatsvc_conformance import close_codes
from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same
from chatsvc_conformance.protocol import BEARER_PREFIX, PROTOCOL_VERSION
from chatsvc_conformance.raw_socket import KEY
from chatsvc_conformance.tokens import sign

_REFUSED = (
    "401 | no token, or one that is not valid; `WWW-Authenticate` and `detail` say which claim"
)
_UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


async def _refused(context: Context, token: str | None) -> None:
    """Call every operation that needs a token, and require a 401."""
    for method, path in (
        ("POST", "/api/messages"),
        ("GET", "/api/messages"),
        ("GET", "/api/messages/get"),
        ("GET", "/api/messages/0000000000000000"),
        ("GET", "/api/conversations"),
    ):
        body = {"participants": ["a"], "content": "x"} if method == "POST" else None
        answer = await context.api.call(method, path, token=token, json=body)
        answer.problem(401)
        challenge = answer.headers.get("WWW-Authenticate", "")
        expect(
            challenge.lower().startswith("bearer"),
            f"WWW-Authenticate must begin with Bearer: {challenge!r}",
        )


@check("token.missing", "Errors", _REFUSED)
async def missing(context: Context) -> None:
    await _refused(context, None)


@check("token.nonsense", "Errors", _REFUSED)
async def nonsense(context: Context) -> None:
    await _refused(context, "this.is.none")


@check("token.unsigned", "Errors", _REFUSED)
async def unsigned(context: Context) -> None:
    (alice,) = await context.users(1)
    await _refused(context, sign(_good(alice.id), b"", "none"))


@check("token.other-key", "Errors", _REFUSED)
async def other_key(context: Context) -> None:
    (alice,) = await context.users(1)
    await _refused(context, sign(_good(alice.id), b"not the secret of this server, 32 and more"))


@check("token.changed", "Errors", _REFUSED)
async def changed(context: Context) -> None:
    alice, bob = await context.users(2)
    header, _, signature = alice.token.split(".")
    await _refused(context, f"{header}.{bob.token.split('.')[1]}.{signature}")


@check("token.expired", "Errors", _REFUSED)
async def expired(context: Context) -> None:
    (alice,) = await context.users(1)
    await _refused(context, context.sign(_expired(alice.id)))


@check("token.without-exp", "Errors", _REFUSED)
async def without_exp(context: Context) -> None:
    (alice,) = await context.users(1)
    await _refused(context, context.sign({"id": alice.id}))


@check("token.not-in-the-url", "HTTP", "never into a URL")
async def not_in_the_url(context: Context) -> None:
    (alice,) = await context.users(1)
    for name in ("token", "access_token"):
        answer = await context.api.call("GET", "/api/messages", query={name: alice.token})
        answer.problem(401, 422)


@check("socket-token.header", "Socket", "**The token** goes into `Authorization: Bearer …`")
async def by_header(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.connect(alice)
    same(socket.hello["user"], alice.id, "the user of hello")


@check(
    "socket-token.header-refused",
    "Socket",
    "an invalid one is refused with a problem document and no upgrade",
)
async def header_refused(context: Context) -> None:
    for headers in ({}, {"Authorization": "Bearer this.is.none"}):
        answer = await context.api.call("GET", "/ws", headers={**_UPGRADE, **headers})
        answer.problem(401)


@check(
    "socket-token.subprotocol",
    "Socket",
    "A browser, which cannot set headers, offers two subprotocols, `chatsvc.v1` and `bearer.<jwt>`",
)
async def by_subprotocol(context: Context) -> None:
    (alice,) = await context.users(1)
    socket = await context.upgrade(protocols=(PROTOCOL_VERSION, BEARER_PREFIX + alice.token))
    await socket.await_hello()
    same(socket.hello["user"], alice.id, "the user of hello")
    same(socket.ws.protocol, PROTOCOL_VERSION, "the subprotocol that was chosen")


_CLOSED = "a refusal is then an upgrade that is closed at once with a code"


async def _closed_with(context: Context, code: int, *protocols: str) -> None:
    socket = await context.upgrade(protocols=protocols)
    same(await socket.closed(), code, "the close code")
    same(socket.frames, [], "frames before the close")


@check("socket-token.subprotocol-refused", "Socket", _CLOSED)
async def subprotocol_refused(context: Context) -> None:
    token = BEARER_PREFIX + "this.is.none"
    await _closed_with(context, close_codes.TOKEN_INVALID, PROTOCOL_VERSION, token)


@check("socket-token.subprotocol-missing", "Close codes", "4001 | token missing or invalid")
async def subprotocol_missing(context: Context) -> None:
    await _closed_with(context, close_codes.TOKEN_INVALID, PROTOCOL_VERSION)


@check("socket-token.subprotocol-expired", "Close codes", "4002 | token expired")
async def subprotocol_expired(context: Context) -> None:
    (alice,) = await context.users(1)
    token = BEARER_PREFIX + context.sign(_expired(alice.id))
    await _closed_with(context, close_codes.TOKEN_EXPIRED, PROTOCOL_VERSION, token)


@check("socket-token.version", "Close codes", "4200 | protocol version not supported")
async def version(context: Context) -> None:
    (alice,) = await context.users(1)
    token = BEARER_PREFIX + alice.token
    await _closed_with(context, close_codes.PROTOCOL_VERSION, "chatsvc.v999", token)


def _good(user: str) -> Mapping[str, object]:
    return {"id": user, "sub": user, "exp": int(time.time()) + 600}


def _expired(user: str) -> Mapping[str, object]:
    return {"id": user, "exp": int(time.time()) - 7200}
