"""RFC 6455 as far as the protocol names it: handshakes, framing and closing."""

from __future__ import annotations

import json

from chatsvc_conformance import close_codes, framing
from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, same
from chatsvc_conformance.framing import client_frame
from chatsvc_conformance.raw_socket import KEY, RawSocket, handshake

_PING = b'{"type":"ping","ref":"r"}'
_WRONG = "the framing was broken, a binary message, not UTF-8, too big"
_RFC = "`GET /ws` with an upgrade ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455))"


async def _closed_after(context: Context, data: bytes, code: int) -> None:
    (alice,) = await context.users(1)
    raw = await context.raw(alice)
    raw.write(data)
    same(await raw.close_code(), code, "the close code")
    raw.send(framing.CLOSE, code.to_bytes(2, "big"))
    await raw.rest()


async def _pong(raw: RawSocket) -> None:
    """The frame that answers :data:`_PING`."""
    answer = json.loads((await raw.frame_of(framing.TEXT)).payload)
    same(answer, {"type": "pong", "ref": "r"}, "the answer to ping")


@check("framing.binary", "Socket", "a binary message closes with 1003")
async def binary(context: Context) -> None:
    data = client_frame(framing.BINARY, _PING)
    await _closed_after(context, data, close_codes.UNSUPPORTED_DATA)


@check("framing.not-utf8", "Close codes", _WRONG)
async def not_utf8(context: Context) -> None:
    data = client_frame(framing.TEXT, b'{"type":"ping","ref":"\xff"}')
    await _closed_after(context, data, close_codes.INVALID_PAYLOAD)


@check("framing.too-big", "Close codes", _WRONG)
async def too_big(context: Context) -> None:
    # A frame that says that it has an exabyte: no server can be set to take it.
    head = client_frame(framing.TEXT, b"")[:1] + b"\xff" + (1 << 60).to_bytes(8, "big") + b"mask"
    await _closed_after(context, head, close_codes.TOO_BIG)


@check("framing.unmasked", "Close codes", _WRONG)
async def unmasked(context: Context) -> None:
    data = client_frame(framing.TEXT, _PING, masked=False)
    await _closed_after(context, data, close_codes.PROTOCOL_ERROR)


@check("framing.broken", "Close codes", _WRONG)
async def broken(context: Context) -> None:
    for data in (
        client_frame(framing.TEXT, _PING, reserved=4),
        client_frame(0x3, b""),
        client_frame(0xB, b""),
        client_frame(framing.PING, b"x" * 126),
        client_frame(framing.PING, b"", fin=False),
        client_frame(framing.CONTINUATION, b"x"),
        client_frame(framing.TEXT, b"{", fin=False) + client_frame(framing.TEXT, b"}"),
        client_frame(framing.CLOSE, b"\x03"),
        client_frame(framing.CLOSE, (1005).to_bytes(2, "big")),
    ):
        await _closed_after(context, data, close_codes.PROTOCOL_ERROR)


@check("framing.fragments", "Socket", "Frames are JSON objects in text messages")
async def fragments(context: Context) -> None:
    (alice,) = await context.users(1)
    raw = await context.raw(alice)
    text = '{"type":"ping","ref":"é"}'.encode()
    cut = text.index(b"\xc3") + 1  # within a character
    raw.send(framing.TEXT, text[:cut], fin=False)
    raw.send(framing.PING, b"between")
    raw.send(framing.CONTINUATION, b"", fin=False)
    raw.send(framing.CONTINUATION, text[cut:])
    same((await raw.frame_of(framing.PONG)).payload, b"between", "the pong")
    answer = json.loads((await raw.frame_of(framing.TEXT)).payload)
    same(answer, {"type": "pong", "ref": "é"}, "the answer to ping")


@check("framing.server-frames", "Socket", _RFC)
async def server_frames(context: Context) -> None:
    (alice,) = await context.users(1)
    raw = await context.raw(alice)
    raw.send(framing.TEXT, _PING)
    frame = await raw.frame_of(framing.TEXT)
    expect(not frame.masked, "a server must not mask its frames")
    same(frame.reserved, 0, "the reserved bits")
    frame.payload.decode()


@check("framing.ping", "Heartbeat and slow readers", "WebSocket libraries answer by themselves")
async def ping(context: Context) -> None:
    (alice,) = await context.users(1)
    raw = await context.raw(alice)
    for payload in (b"", b"x", bytes(range(125))):
        raw.send(framing.PING, payload)
        same((await raw.frame_of(framing.PONG)).payload, payload, "the pong's payload")
    raw.send(framing.PONG, b"unasked")
    raw.send(framing.TEXT, _PING)
    await _pong(raw)


@check(
    "framing.close",
    "Close codes",
    "1000, 1001, 1006, 1011 and others | closed, or the connection was lost",
)
async def close(context: Context) -> None:
    (alice,) = await context.users(1)
    for payload in (b"", (1000).to_bytes(2, "big") + b"bye", (4999).to_bytes(2, "big")):
        raw = await context.raw(alice)
        raw.send(framing.CLOSE, payload)
        code = await raw.close_code()
        if payload:
            same(code, int.from_bytes(payload[:2], "big"), "the code that is sent back")
        await raw.rest()


@check("framing.no-handshake", "Errors", "426 | `/ws` without a WebSocket handshake of version 13")
async def no_handshake(context: Context) -> None:
    (alice,) = await context.users(1)
    answer = await context.api.call("GET", "/ws", token=alice.token)
    answer.problem(426)
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "8",
    }
    answer = await context.api.call("GET", "/ws", token=alice.token, headers=headers)
    answer.problem(426)
    same(answer.headers.get("Sec-WebSocket-Version"), "13", "Sec-WebSocket-Version")


@check("framing.accept", "Socket", _RFC)
async def accept(context: Context) -> None:
    (alice,) = await context.users(1)
    url = context.api.url("/ws")
    async with await RawSocket.connect(context.api.base, context.timeout) as raw:
        # What follows the handshake in the same segment belongs to the socket.
        first = client_frame(framing.TEXT, _PING)
        lines = [f"Authorization: Bearer {alice.token}"]
        raw.write(handshake(url.authority, url.raw_path, lines) + first)
        head = await raw.head()
        expect(
            head.startswith("HTTP/1.1 101 "),
            f"the handshake must be answered with 101: {head[:40]!r}",
        )
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.splitlines()[1:])
        }
        same(fields.get("sec-websocket-accept"), framing.accept_key(KEY), "Sec-WebSocket-Accept")
        same(fields.get("upgrade", "").lower(), "websocket", "Upgrade")
        same(json.loads((await raw.frame()).payload)["type"], "hello", "the first frame")
        await _pong(raw)
