"""The opening handshake (RFC 6455 §4) against a running service, by hand and by another
implementation's client.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from yarl import URL

from chatsvc.wire.frames import TEXT
from chatsvc_conformance.framing import client_frame
from chatsvc_conformance.raw_socket import KEY, handshake
from testkit.raw_socket import RawSocket
from testkit.talking import token
from testkit.waiting import PATIENCE
from tests.integration.support import rfc6455
from tests.integration.support.rfc6455 import PING, alive, answered, padded


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rfc6455.service(tmp_path_factory.mktemp("service")) as url:
        yield url


def opening(url: str, *lines: str, without: tuple[str, ...] = (), **how: str) -> bytes:
    """A handshake with a good token, changed as the arguments have it."""
    bearer = f"Authorization: Bearer {token('alice')}"
    return handshake(URL(url).authority, "/ws", [bearer, *lines], without=without, **how)


def fields(head: str) -> dict[str, str]:
    lines = (line.partition(":") for line in head.splitlines()[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


# What is accepted


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("upgrade: WebSocket", "connection: upgrade"),
        ("Connection: keep-alive, Upgrade",),
        ("Connection:keep-alive ,\tuPGRADE",),
        ("Origin: https://example.org", "Sec-WebSocket-Extensions: permessage-deflate; x=1"),
        ("Sec-WebSocket-Protocol: chatsvc.v1",),
        (f"Sec-WebSocket-Protocol: a, chatsvc.v1, {'b' * 1000}",),
    ],
)
async def test_a_handshake_is_accepted(url: str, lines: tuple[str, ...]) -> None:
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url, *lines))
        head = await raw.head()
        assert head.startswith("HTTP/1.1 101 ")
        found = fields(head)
        # The RFC's own example (§1.3).
        assert KEY == "dGhlIHNhbXBsZSBub25jZQ=="
        assert found["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert found["upgrade"].lower() == "websocket"
        assert found["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in found
        offered = any(line.startswith("Sec-WebSocket-Protocol") for line in lines)
        assert found.get("sec-websocket-protocol") == ("chatsvc.v1" if offered else None)
        assert json.loads((await raw.frame()).payload)["type"] == "hello"
        await alive(raw)


@pytest.mark.parametrize("size", [len(PING), 40_000])
async def test_frames_right_behind_the_handshake(url: str, size: int) -> None:
    """In the same segment, before the answer is there."""
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url) + client_frame(TEXT, padded(size)) * 3)
        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert json.loads((await raw.frame()).payload)["type"] == "hello"
        for _ in range(3):
            await answered(raw)
        await alive(raw)


async def test_a_frame_cut_by_the_end_of_the_handshake(url: str) -> None:
    frame = client_frame(TEXT, PING)
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url) + frame[:5])
        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert json.loads((await raw.frame()).payload)["type"] == "hello"
        raw.write(frame[5:])
        await answered(raw)


async def test_a_handshake_in_drops(url: str) -> None:
    async with await RawSocket.dial(url) as raw:
        await rfc6455.drip(raw, opening(url), 7)
        assert (await raw.head()).startswith("HTTP/1.1 101 ")


async def test_a_handshake_after_a_request_on_the_same_connection(url: str) -> None:
    async with await RawSocket.dial(url) as raw:
        ask = f"GET /health/live HTTP/1.1\r\nHost: {URL(url).authority}\r\n\r\n".encode()
        raw.write(ask)
        assert (await raw.response())[0].startswith("HTTP/1.1 200 ")
        raw.write(opening(url))
        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert json.loads((await raw.frame()).payload)["type"] == "hello"
        await alive(raw)


# What is refused


@pytest.mark.parametrize(
    ("lines", "without", "status"),
    [
        ((), ("upgrade",), 426),
        ((), ("connection",), 426),
        (("Upgrade: h2c",), (), 426),
        (("Connection: keep-alive",), (), 426),
        (("Connection: notupgrade",), (), 426),
        ((), ("sec-websocket-version",), 426),
        (("Sec-WebSocket-Version: 8",), (), 426),
        (("Sec-WebSocket-Version: 14",), (), 426),
        (("Sec-WebSocket-Version: 13, 8",), (), 426),
        ((), ("sec-websocket-key",), 400),
        (("Sec-WebSocket-Key:",), (), 400),
        (("Sec-WebSocket-Key: short",), (), 400),
        (("Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==",), (), 400),
        (("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMw==",), (), 400),
        ((), ("host",), 400),
    ],
)
async def test_what_is_no_handshake_is_refused(
    url: str, lines: tuple[str, ...], without: tuple[str, ...], status: int
) -> None:
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url, *lines, without=without))
        head, body = await raw.response()
        assert head.startswith(f"HTTP/1.1 {status} "), head
        found = fields(head)
        assert found["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
        if status == 426:
            assert found["sec-websocket-version"] == "13"
            assert found["upgrade"] == "websocket"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_a_handshake_is_a_get(url: str, method: str) -> None:
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url, method=method))
        head = await raw.head()
        if method == "OPTIONS":
            assert head.startswith("HTTP/1.1 204 ")
        else:
            assert head.startswith("HTTP/1.1 405 ")
        assert fields(head)["allow"] == "GET, OPTIONS"


async def test_a_handshake_is_http_1_1(url: str) -> None:
    async with await RawSocket.dial(url) as raw:
        raw.write(opening(url, version="HTTP/1.0"))
        head, body = await raw.response()
        assert " 426 " in head.splitlines()[0]
        assert json.loads(body)["code"] == "upgrade_required"


# Another implementation's client


async def told(ws: ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(PATIENCE):
        frame: dict[str, object] = json.loads(await ws.recv())
        return frame


def by_header(url: str, user: str = "alice", **more: object) -> connect:
    headers = {"Authorization": f"Bearer {token(user)}"}
    return connect(f"ws{url.removeprefix('http')}/ws", additional_headers=headers, **more)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_another_client_talks(url: str, compression: str | None) -> None:
    async with (
        by_header(url, compression=compression) as alice,
        by_header(url, "bob", compression=compression) as bob,
    ):
        assert (await told(alice))["user"] == "alice"
        assert (await told(bob))["user"] == "bob"
        for content in ("x", "𝄞" * 10_000, "é" * 16_000):
            sent = {"type": "send", "participants": ["alice", "bob"], "content": content}
            text = json.dumps(sent, ensure_ascii=False)
            await alice.send([text[at : at + 999] for at in range(0, len(text), 999)])
            assert (await told(alice))["type"] == "ack"
            assert (await told(bob))["content"] == content
        async with asyncio.timeout(PATIENCE):
            await (await alice.ping(b"\xfe" * 125))


async def test_another_client_closes_and_reads_how_it_is_closed(url: str) -> None:
    async with by_header(url) as ws:
        await told(ws)
        await ws.close(4321, "Κόσμε")
        assert ws.close_code == 4321
        assert ws.protocol.close_rcvd is not None
        assert ws.protocol.close_rcvd.code == 4321
    async with by_header(url) as ws:
        await told(ws)
        await ws.send(b"binary")
        with pytest.raises(ConnectionClosed) as closed:
            await told(ws)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003
        assert closed.value.rcvd_then_sent


async def test_another_client_is_refused(url: str) -> None:
    bad = {"Authorization": "Bearer this.is.none"}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws{url.removeprefix('http')}/ws", additional_headers=bad):
            raise AssertionError("it was let in")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["status"] == 401
