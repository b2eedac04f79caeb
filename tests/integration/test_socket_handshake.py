"""How a socket opens, and how it is refused."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import websockets
from multidict import CIMultiDict
from websockets.typing import Subprotocol

from chatsvc import __version__
from chatsvc.auth.minting import mint
from chatsvc_conformance.framing import client_frame
from chatsvc_conformance.raw_socket import handshake
from testkit.raw_socket import RawSocket, opening
from testkit.talking import SOON, bearer, talk, token, ws_url
from tests.integration.support.handshakes import KEY, closed_with, refused

MILLISECOND = timedelta(milliseconds=1)
OTHER_KEY = b"another secret of thirty-two bytes!"


def minted(which: str) -> str:
    """Tokens by name: made when they are used, so that they are young then."""
    return {
        "GOOD": token("ann"),
        "FORGED": mint(OTHER_KEY, "ann", 600),
        "EXPIRED": token("ann", -3600),
    }.get(which, which)


async def test_hello_says_all_that_a_client_needs(url: str) -> None:
    before = datetime.now(UTC)
    async with talk(url, "ann") as one:
        hello = one.hello
    assert hello.keys() == {
        "type", "user", "connection_id", "protocol", "server", "features", "epoch", "cursor",
        "heartbeat_seconds", "max_content", "expires_at", "server_time",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", hello["server_time"])
    said = datetime.fromisoformat(hello["server_time"])
    assert before - MILLISECOND < said <= datetime.now(UTC)
    assert (hello["type"], hello["user"], hello["protocol"]) == ("hello", "ann", "chatsvc.v1")
    assert hello["server"] == f"chatsvc/{__version__}"
    assert (hello["heartbeat_seconds"], hello["max_content"]) == (600.0, 16000)
    assert {"resume", "echo"} <= set(hello["features"])
    assert hello["cursor"].startswith(hello["epoch"] + ".")


async def test_a_browser_brings_its_token_by_subprotocol(url: str) -> None:
    async with talk(url, "ann", browser=True) as one:
        assert one.hello["user"] == "ann"
        assert one.ws.subprotocol == "chatsvc.v1"


async def test_the_order_of_subprotocols_does_not_matter(url: str) -> None:
    offered = [Subprotocol(f"bearer.{token('ann')}"), Subprotocol("chatsvc.v1")]
    async with websockets.connect(ws_url(url), subprotocols=offered, proxy=None) as ws:
        assert ws.subprotocol == "chatsvc.v1"
        assert json.loads(await ws.recv())["user"] == "ann"


async def test_aiohttps_client_talks_too(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url + "/ws", headers=bearer("ann"), autoping=True) as ws,
    ):
        assert (await ws.receive_json(timeout=SOON))["user"] == "ann"
        await ws.send_json({"type": "send", "participants": ["ann"], "content": "x", "ref": "1"})
        assert (await ws.receive_json(timeout=SOON))["type"] == "ack"
        await ws.ping(b"p")
        await ws.send_json({"type": "ping"})
        assert await ws.receive_json(timeout=SOON) == {"type": "pong"}
    assert ws.close_code == 1000


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "token_missing"),
        ("Bearer", "token_missing"),
        ("Basic YTpi", "token_missing"),
        ("Bearer not.a.token", "token_invalid"),
        ("Bearer FORGED", "token_invalid"),
        ("Bearer EXPIRED", "token_expired"),
    ],
)
async def test_a_bad_token_in_the_header_is_a_problem_and_no_upgrade(
    url: str, authorization: str | None, code: str
) -> None:
    headers = {}
    if authorization is not None:
        headers["Authorization"] = " ".join(map(minted, authorization.split(" ")))
    status, answered, problem = await refused(url + "/ws", headers)
    assert (status, problem["code"]) == (401, code)
    assert answered["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("offered", "code"),
    [
        (["chatsvc.v1"], 4001),
        (["chatsvc.v1", "bearer.not.a.token"], 4001),
        (["chatsvc.v1", "bearer.FORGED"], 4001),
        (["chatsvc.v1", "bearer.EXPIRED"], 4002),
        (["chatsvc.v2", "bearer.GOOD"], 4200),
        (["bearer.GOOD"], 4200),
    ],
)
async def test_a_browser_reads_the_reason_from_a_close(
    url: str, offered: list[str], code: int
) -> None:
    names = [
        f"bearer.{minted(name.removeprefix('bearer.'))}" if name.startswith("bearer.") else name
        for name in offered
    ]
    assert (await closed_with(url, *names))[0] == code


async def test_a_token_in_the_url_is_not_looked_at(url: str) -> None:
    status, _, problem = await refused(f"{url}/ws?token={token('ann')}", bearer("ann"))
    assert (status, problem["code"]) == (422, "unknown_parameter")
    assert token("ann") not in json.dumps(problem)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("&".join(f"p{n}=1" for n in range(5000)), id="many parameters"),
        pytest.param("&".join(["echo=true"] * 5000), id="one many times"),
        pytest.param("x" * 50_000 + "=1", id="a long name"),
        pytest.param("&" * 50_000, id="none at all"),
    ],
)
async def test_the_answer_to_a_long_query_is_short(url: str, query: str) -> None:
    status, _, problem = await refused(f"{url}/ws?{query}", bearer("ann"))
    assert status == 422
    assert len(json.dumps(problem)) < 2000


@pytest.mark.parametrize(
    "offered",
    [
        pytest.param(["x," * 7000 + "chatsvc.v1"], id="many"),
        pytest.param(["x" * 9000, "y" * 9000], id="long"),
        pytest.param([", ".join(["chatsvc.v1"] * 33)], id="33"),
    ],
)
async def test_subprotocols_are_measured_before_they_are_taken_apart(
    url: str, offered: list[str]
) -> None:
    fields = CIMultiDict([("Sec-WebSocket-Protocol", value) for value in offered])
    status, _, problem = await refused(f"{url}/ws", fields)
    assert (status, problem["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("echo=perhaps", "/echo"), ("device=a%20b", "/device"), ("device=", "/device"),
     ("echo=true&echo=true", "/echo"), ("receipts=all", "/receipts")],
)  # fmt: skip
async def test_a_bad_parameter_is_named(url: str, query: str, pointer: str) -> None:
    status, _, problem = await refused(f"{url}/ws?{query}", bearer("ann"))
    assert status == 422
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Key": "short"},
        {"Sec_WebSocket_Key": f"{KEY}\r\nSec-WebSocket-Key: {KEY}"},
        {"Sec_WebSocket_Version": "13\r\nSec-WebSocket-Version: 8"},
        {"Upgrade": "websockets"},
        {"Connection": "upgrader, keep-alive"},
    ],
)
async def test_what_is_no_handshake_is_told_so(url: str, headers: dict[str, str]) -> None:
    raw = await RawSocket.dial(url)
    raw.write(opening("ann", **headers))
    head = await raw.head()
    assert head.split(" ")[1] in ("400", "426")
    assert "101" not in head.splitlines()[0]
    await raw.end()


async def test_bytes_right_behind_the_handshake_are_not_lost(url: str) -> None:
    early = client_frame(1, b'{"type":"ping","ref":"early"}')
    raw = await RawSocket.upgraded(url, "ann", early + early[:5])
    assert (await raw.json())["type"] == "hello"
    assert await raw.json() == {"type": "pong", "ref": "early"}
    raw.write(early[5:])
    assert await raw.json() == {"type": "pong", "ref": "early"}
    await raw.end()


async def test_much_right_behind_the_handshake_is_not_lost_either(url: str) -> None:
    ping = client_frame(1, b'{"type":"ping","ref":"%s"}' % (b"x" * 60) + b" " * 1000)
    raw = await RawSocket.upgraded(url, "ann", ping * 300)
    assert (await raw.json())["type"] == "hello"
    for _ in range(300):
        assert (await raw.json())["type"] == "pong"
    await raw.end()


PROXIED: list[dict[str, str]] = [
    {"Upgrade": "h2c, websocket"},
    {"Upgrade": "WebSocket,h2c"},
    {"Upgrade": "h2c\r\nUpgrade: websocket"},
    {"Connection": "keep-alive, Upgrade"},
    {"Connection": "keep-alive\r\nConnection: upgrade"},
    {"Connection": "UPGRADE"},
    {"Upgrade": "WEBSOCKET"},
    {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits, x-webkit"},
    {"Via": "1.1 a, 1.1 b", "X_Forwarded_For": "10.0.0.1, 10.0.0.2", "Cookie": "a=b"},
]


@pytest.mark.parametrize("headers", PROXIED, ids=lambda headers: repr(headers)[1:60])
async def test_a_handshake_as_proxies_send_it(url: str, headers: dict[str, str]) -> None:
    raw = await RawSocket.dial(url)
    raw.write(opening("ann", **headers))
    head = await raw.head()
    assert head.startswith("HTTP/1.1 101 "), head
    assert "xtensions" not in head, "none is spoken"
    assert (await raw.json())["type"] == "hello"
    raw.write(client_frame(1, b'{"type":"ping","ref":"a"}'))
    assert await raw.json() == {"type": "pong", "ref": "a"}
    await raw.end()


@pytest.mark.parametrize("upgrade", ["h2c, websocket", "websocket, h2c"])
async def test_bytes_behind_such_a_handshake_are_not_lost(url: str, upgrade: str) -> None:
    early = client_frame(1, b'{"type":"ping","ref":"early"}')
    raw = await RawSocket.dial(url)
    raw.write(opening("ann", Upgrade=upgrade) + early + early[:5])
    assert (await raw.head()).startswith("HTTP/1.1 101 ")
    assert (await raw.json())["type"] == "hello"
    assert await raw.json() == {"type": "pong", "ref": "early"}
    raw.write(early[5:])
    assert await raw.json() == {"type": "pong", "ref": "early"}
    await raw.end()


def by_subprotocol(*lines: str, authorization: str = "") -> bytes:
    """A browser's handshake, whose token comes by subprotocol."""
    given = [f"Authorization: {authorization}"] if authorization else []
    return handshake("localhost", "/ws", [*given, *lines])


@pytest.mark.parametrize(
    "scheme", ["Basic YWxpY2U6c2VjcmV0", "Digest username=a", "Negotiate abc=="]
)
async def test_what_a_browser_adds_for_a_proxy_is_not_ours(url: str, scheme: str) -> None:
    """It stands beside the token by subprotocol, which is the one that counts."""
    raw = await RawSocket.dial(url)
    offered = f"Sec-WebSocket-Protocol: chatsvc.v1, bearer.{token('ann')}"
    raw.write(by_subprotocol(offered, authorization=scheme))
    head = await raw.head()
    assert "Sec-WebSocket-Protocol: chatsvc.v1\r\n" in head
    assert (await raw.json())["user"] == "ann"
    await raw.end()
    raw = await RawSocket.dial(url)
    raw.write(by_subprotocol("Sec-WebSocket-Protocol: chatsvc.v1, bearer.x", authorization=scheme))
    head = await raw.head()
    assert head.startswith("HTTP/1.1 101 "), "a browser reads no problem document"
    assert await raw.ended() == 4001
    await raw.end()


async def test_subprotocols_on_several_lines_are_one_list(url: str) -> None:
    raw = await RawSocket.dial(url)
    raw.write(
        by_subprotocol(
            f"Sec-WebSocket-Protocol: bearer.{token('ann')}",
            "sec-websocket-protocol: other ,  chatsvc.v1",
        )
    )
    head = await raw.head()
    assert "Sec-WebSocket-Protocol: chatsvc.v1\r\n" in head
    assert (await raw.json())["user"] == "ann"
    await raw.end()


async def test_a_bearer_header_counts_before_a_subprotocol_and_there_is_one(url: str) -> None:
    offered = f"Sec-WebSocket-Protocol: chatsvc.v1, bearer.{token('ben')}"
    for authorization, expected in (
        (f"Bearer {token('ann')}", "101"),
        (f"Basic YTpi\r\nAuthorization: Bearer {token('ann')}", "101"),
        (f"Bearer {token('ann')}\r\nAuthorization: Bearer {token('ben')}", "401"),
        ("Bearer not.a.token", "401"),
    ):
        raw = await RawSocket.dial(url)
        raw.write(by_subprotocol(offered, authorization=authorization))
        head = await raw.head()
        assert head.split(" ")[1] == expected, (authorization, head)
        if expected == "101":
            assert (await raw.json())["user"] == "ann"
        await raw.end()


async def test_bytes_that_come_while_the_resume_is_planned_are_not_lost(url: str) -> None:
    early = client_frame(1, b'{"type":"ping","ref":"early"}')
    raw = await RawSocket.upgraded(url, "ann", early, path="/ws?since=unreadable")
    kinds = {(await raw.json())["type"] for _ in range(4)}
    assert kinds == {"hello", "gap", "caught_up", "pong"}
    await raw.end()
