"""Request ids, lines in the log, errors of ours, CORS and OPTIONS."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from chatsvc.server.http.application import ServerOptions
from chatsvc.server.http.middleware import new_request_id
from tests.unit.support.http_service import Client, HttpService, running


async def test_a_sane_request_id_is_kept_and_another_is_replaced() -> None:
    async with running(HttpService()) as client:
        given = await client.call("GET", "/health/live", headers={"X-Request-Id": "abc-123"})
        assert given.headers["X-Request-Id"] == "abc-123"
        for bad in ("x" * 65, "a b", 'a"b', "ü"):
            answer = await client.call("GET", "/health/live", headers={"X-Request-Id": bad})
            assert answer.headers["X-Request-Id"] not in ("", bad)
        error = await client.call("GET", "/nothing", headers={"X-Request-Id": "abc-123"})
        assert error.json["request_id"] == error.headers["X-Request-Id"] == "abc-123"


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000


async def call_and_log(client: Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    with capture_logs() as lines:
        await client.call(method, path, **options)
    [line] = [line for line in lines if line["event"] == "request"]
    return dict(line)


async def test_one_line_a_request_with_its_ids() -> None:
    async with running(HttpService()) as client:
        body = {"participants": ["alice"], "content": "a secret"}
        with capture_logs() as lines:
            answer = await client.call("POST", "/api/messages", json=body)
        [line] = lines
        assert line.pop("ms") >= 0
        assert line == {
            "event": "request",
            "log_level": "info",
            "method": "POST",
            "route": "/api/messages",
            "status": 201,
            "user": "alice",
            "request_id": answer.headers["X-Request-Id"],
            "message_id": answer.json["id"],
        }


async def test_lines_hold_patterns_and_never_queries_content_or_tokens() -> None:
    async with running(HttpService()) as client:
        with capture_logs() as lines:
            await client.call("GET", "/api/messages/get?participants=alice,topsecret")
            await client.call("GET", "/api/messages/00000000000000ff")
            await client.call("GET", "/topsecret/path?token=topsecret")
            await client.call(
                "POST", "/api/messages", json={"participants": ["alice"], "topsecret": "x"}
            )
            headers = {"Authorization": "Bearer topsecret"}
            await client.call("GET", "/api/messages", user=None, headers=headers)
        assert [line["route"] for line in lines] == [
            "/api/messages/get",
            "/api/messages/{id}",
            "unmatched",
            "/api/messages",
            "/api/messages",
        ]
        assert "topsecret" not in repr(lines)


async def test_a_refusal_is_logged_with_its_code_and_of_a_token_with_the_reason() -> None:
    async with running(HttpService(options=ServerOptions(version="0", metrics_token="m"))) as c:
        line = await call_and_log(c, "GET", "/api/messages/get?participants=bob")
        assert line["code"] == "not_a_participant"
        assert "reason" not in line
        for path in ("/api/messages", "/metrics"):
            line = await call_and_log(c, "GET", path, user=None)
            assert (line["log_level"], line["status"]) == ("info", 401)
            assert line["code"] == "token_missing"
            assert "must have a token" in line["reason"]
        assert "code" not in await call_and_log(c, "GET", "/api/messages")


async def test_questions_of_machines_are_of_level_debug() -> None:
    async with running(HttpService()) as client:
        for path in ("/health", "/health/live", "/health/ready", "/metrics"):
            assert (await call_and_log(client, "GET", path))["log_level"] == "debug"


async def test_what_nobody_raised_on_purpose_is_500_and_logged_with_its_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(HttpService()) as client:

        async def broken(*_: object) -> None:
            raise RuntimeError("the inside of the service")

        monkeypatch.setattr(client.service.history, "user_page", broken)
        with capture_logs() as lines:
            answer = await client.call("GET", "/api/messages")
        assert answer.status == 500
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["code"] == "internal_error"
        assert b"inside" not in answer.body
        [failed] = [line for line in lines if line["event"] == "request_failed"]
        assert failed["exc_info"]
        assert failed["request_id"] == answer.headers["X-Request-Id"]
        [line] = [line for line in lines if line["event"] == "request"]
        assert (line["status"], line["log_level"]) == (500, "warning")
        assert (await client.call("GET", "/health/live")).status == 200


async def test_further_routes_are_inside_too() -> None:
    async def teapot(_: web.Request) -> web.StreamResponse:
        return web.Response(status=418, text="short and stout")

    async with running(HttpService(extra_routes=[web.get("/tea", teapot)])) as client:
        answer = await client.call("GET", "/tea")
        assert (answer.status, answer.body) == (418, b"short and stout")
        assert answer.headers["X-Request-Id"]


async def test_options_tells_what_a_path_takes() -> None:
    async with running(HttpService()) as client:
        answer = await client.call("OPTIONS", "/api/messages", user=None)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert "Content-Length" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert (await client.call("OPTIONS", "/nothing", user=None)).status == 404


PREFLIGHT = {
    "Origin": "https://app.example.org",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def test_a_page_of_an_allowed_origin_may_call() -> None:
    options = ServerOptions(version="0", cors_origins=("https://app.example.org",))
    async with running(HttpService(options=options)) as client:
        answer = await client.call("OPTIONS", "/api/messages", user=None, headers=PREFLIGHT)
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Vary"] == "Origin"

        origin = {"Origin": "https://app.example.org"}
        for path, status in (("/api/conversations", 200), ("/nothing", 404), ("/docs", 200)):
            answer = await client.call("GET", path, headers=origin)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
            assert "Location" in answer.headers["Access-Control-Expose-Headers"]

        other = await client.call("GET", "/api/conversations", headers={"Origin": "https://evil"})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert other.headers["Vary"] == "Origin"


async def test_any_origin() -> None:
    options = ServerOptions(version="0", cors_origins=("*",))
    async with running(HttpService(options=options)) as client:
        answer = await client.call("GET", "/health", headers={"Origin": "https://a"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
