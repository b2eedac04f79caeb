"""Pages of other origins: who may call, with which headers, and what they may read.

What a browser makes of it is in ``tests/e2e/test_browser.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from chatsvc.server.http.application import ServerOptions
from tests.unit.support.http_service import HttpService

Ask = Callable[..., Awaitable[TestClient]]
APP = "https://app.example.org"
LOCAL = ("http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]", "https://localhost")
TOKEN = {"Authorization": "Bearer token-of-alice"}


@pytest.fixture
def serving(aiohttp_client: AiohttpClient) -> Ask:
    """A client of a service with these origins and further headers."""

    async def start(*origins: str, headers: tuple[str, ...] = ()) -> TestClient:
        options = ServerOptions(version="0", cors_origins=origins, cors_headers=headers)
        return await aiohttp_client(HttpService(options=options).application)

    return start


def preflight(origin: str, asked: str = "authorization,content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }


async def allowed(client: TestClient, origin: str) -> str | None:
    """The origin that the answer to a call of this page names."""
    answer = await client.get("/api/conversations", headers={"Origin": origin} | TOKEN)
    assert answer.status == 200
    assert answer.headers["Vary"] == "Origin"
    before = await client.options("/api/messages", headers=preflight(origin))
    assert before.status == 204
    found = answer.headers.get("Access-Control-Allow-Origin")
    assert before.headers.get("Access-Control-Allow-Origin") == found
    return found


async def test_named_origins_may_call_and_others_may_not(serving: Ask) -> None:
    client = await serving(APP, "null")
    assert await allowed(client, APP) == APP
    assert await allowed(client, "null") == "null"
    for other in ("https://evil.example.org", f"{APP}:8443", f"{APP}.evil.org", *LOCAL, "*"):
        assert await allowed(client, other) is None, other


async def test_pages_of_this_machine_may_call_from_any_port(serving: Ask) -> None:
    client = await serving("loopback", APP)
    for origin in (*LOCAL, APP):
        assert await allowed(client, origin) == origin
    for other in ("http://localhost.evil.org", "http://192.168.0.1:3000", "null", "loopback"):
        assert await allowed(client, other) is None, other


async def test_all_may_call(serving: Ask) -> None:
    client = await serving("*")
    answer = await client.get("/api/conversations", headers={"Origin": "null"} | TOKEN)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_origins_nothing_is_said(serving: Ask) -> None:
    client = await serving()
    answer = await client.options("/api/messages", headers=preflight(APP))
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_headers_that_pages_may_send(serving: Ask) -> None:
    known = {
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "Chatsvc-Device",
        "X-Request-Id",
    }
    for more in ((), ("X-Trace", "baggage")):
        client = await serving(APP, headers=more)
        answer = await client.options("/api/messages", headers=preflight(APP))
        named = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
        assert named == known | set(more)
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]


async def test_a_page_may_read_what_errors_say(serving: Ask) -> None:
    client = await serving(APP)
    answer = await client.get("/api/conversations", headers={"Origin": APP})
    assert answer.status == 401
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]
