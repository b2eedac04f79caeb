"""Why a token was refused is in the log: one line each, whichever way the token came."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import jwt
import pytest
import websockets
from websockets.typing import Subprotocol

from testkit.process import Process
from testkit.talking import SECRET, SOON, log_lines, talk, token, ws_url
from testkit.waiting import until

NOW = int(time.time())
GOOD: dict[str, Any] = {"id": "ann", "exp": NOW + 3600}


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(GOOD | claims, secret, algorithm)


# Token → code, and the words of the reason that name the claim or the part.
BAD: dict[str, tuple[str, str, str]] = {
    "expired": (signed(exp=NOW - 3600), "token_expired", "the token has expired"),
    "without exp": (
        jwt.encode({"id": "ann"}, SECRET, "HS256"),
        "token_invalid",
        "must have an exp claim",
    ),
    "not yet": (signed(nbf=NOW + 7200), "token_invalid", "nbf must not be in the future"),
    "issued ahead": (signed(iat=NOW + 7200), "token_invalid", "iat must not be in the future"),
    "another key": (signed("another secret, long enough for it"), "token_invalid", "signature"),
    "another algorithm": (signed("x" * 64, "HS512"), "token_invalid", "alg must be HS256"),
    "no user": (
        jwt.encode({"exp": NOW + 3600}, SECRET, "HS256"),
        "token_invalid",
        "must have the claim id or sub",
    ),
    "user with a comma": (signed(id="a,b"), "token_invalid", "id must be a user id"),
    "no token": ("nonsense", "token_invalid", "three parts"),
}


def refusals(service: Process, event: str, bad: str) -> list[dict[str, Any]]:
    assert bad not in service.err
    return [line for line in log_lines(service, event) if "code" in line]


async def one_more(
    service: Process, event: str, before: int, bad: str, code: str, words: str
) -> dict[str, Any]:
    """The one line that came after ``before`` of them."""
    await until(lambda: len(refusals(service, event, bad)) > before)
    (line,) = refusals(service, event, bad)[before:]
    assert line["level"] == "info"
    assert line["code"] == code
    assert words in line["reason"]
    return line


@pytest.mark.parametrize(("bad", "code", "words"), BAD.values(), ids=BAD)
async def test_of_a_request(service: Process, url: str, bad: str, code: str, words: str) -> None:
    before = len(refusals(service, "request", bad))
    headers = {"Authorization": f"Bearer {bad}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/api/messages") as answer,
    ):
        assert answer.status == 401
        request_id = answer.headers["X-Request-Id"]
    line = await one_more(service, "request", before, bad, code, words)
    assert (line["status"], line["route"]) == (401, "/api/messages")
    assert line["request_id"] == request_id


@pytest.mark.parametrize(("bad", "code", "words"), BAD.values(), ids=BAD)
async def test_of_a_handshake_by_header(
    service: Process, url: str, bad: str, code: str, words: str
) -> None:
    before = len(refusals(service, "request", bad))
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(
            ws_url(url), additional_headers={"Authorization": f"Bearer {bad}"}, proxy=None
        ):
            pass
    line = await one_more(service, "request", before, bad, code, words)
    assert (line["status"], line["route"]) == (401, "/ws")


@pytest.mark.parametrize(("bad", "code", "words"), BAD.values(), ids=BAD)
async def test_of_a_handshake_by_subprotocol(
    service: Process, url: str, bad: str, code: str, words: str
) -> None:
    before = len(refusals(service, "request", bad))
    offered = [Subprotocol("chatsvc.v1"), Subprotocol(f"bearer.{bad}")]
    async with websockets.connect(ws_url(url), subprotocols=offered, proxy=None) as ws:
        await asyncio.wait_for(ws.wait_closed(), SOON)
        assert ws.close_code == (4002 if code == "token_expired" else 4001)
        closed_with = ws.close_code
    line = await one_more(service, "request", before, bad, code, words)
    assert (line["status"], line["close_code"]) == (101, closed_with)


@pytest.mark.parametrize(("bad", "code", "words"), BAD.values(), ids=BAD)
async def test_of_an_auth_frame(
    service: Process, url: str, bad: str, code: str, words: str
) -> None:
    before = len(refusals(service, "auth_refused", bad))
    async with talk(url, "ann") as one:
        await one.put({"type": "auth", "token": bad, "ref": "t"})
        error = await one.next("auth_expiring")
        assert (error["type"], error["code"]) == ("error", code)
        line = await one_more(service, "auth_refused", before, bad, code, words)
        assert (line["user"], line["connection"]) == ("ann", one.hello["connection_id"])


async def test_of_another_users_auth_frame(service: Process, url: str) -> None:
    other = token("ben")
    before = len(refusals(service, "auth_refused", other))
    async with talk(url, "ann") as one:
        await one.put({"type": "auth", "token": other})
        assert (await one.closed())[0] == 4003
    await one_more(service, "auth_refused", before, other, "forbidden", "another user's")


async def test_no_token_at_all_is_told_too(service: Process, url: str) -> None:
    before = len(refusals(service, "request", "no text"))
    async with websockets.connect(
        ws_url(url), subprotocols=[Subprotocol("chatsvc.v1")], proxy=None
    ) as ws:
        await asyncio.wait_for(ws.wait_closed(), SOON)
    line = await one_more(
        service, "request", before, "no text", "token_missing", "the request must have a token"
    )
    assert line["close_code"] == 4001
