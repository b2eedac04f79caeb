"""``POST /api/dev/token`` over real HTTP."""

from __future__ import annotations

import pytest

from chatsvc.server.http.application import ServerOptions
from tests.unit.support.http_service import HttpService, running


async def test_a_token_for_whoever_asks() -> None:
    async with running(HttpService()) as client:
        answer = await client.call("POST", "/api/dev/token", user=None, json={"user": "alice"})
        assert answer.status == 200
        assert answer.json == {
            "token": "token-of-alice",
            "user": "alice",
            "expires_at": 4_102_444_800,
        }


async def test_off_there_is_no_such_route() -> None:
    async with running(HttpService(dev_login=False)) as client:
        answer = await client.call("POST", "/api/dev/token", user=None, json={"user": "alice"})
        assert answer.status == 404
        assert "/api/dev/token" not in (await client.call("GET", "/openapi.json")).json["paths"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "for=192.0.2.1"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"X-Forwarded-Host": "chat.example.org"},
        {"X-Forwarded-Anything": "1"},
        {"X-Real-IP": "192.0.2.1"},
        {"Via": "1.1 proxy"},
        {"Host": "chat.example.org"},
        {"Host": "localhost.example.org"},
        {"Host": "127.0.0.1.nip.io:8080"},
    ],
)
async def test_it_is_refused_through_a_proxy_or_under_another_name(headers: dict[str, str]) -> None:
    async with running(HttpService()) as client:
        answer = await client.call(
            "POST", "/api/dev/token", user=None, json={"user": "alice"}, headers=headers
        )
    assert answer.status == 403
    assert answer.json["code"] == "not_local"


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://127.0.0.1.nip.io"},
    {"Origin": "file://localhost"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "Cross-Site"},
]
OURS = [
    {"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:5173", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://[::1]:3000"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {},
]


@pytest.mark.parametrize("origins", [(), ("*",)])
@pytest.mark.parametrize(
    ("headers", "status"), [*[(one, 403) for one in FOREIGN], *[(one, 200) for one in OURS]]
)
async def test_pages_of_other_origins_get_no_token_whatever_cors_says(
    origins: tuple[str, ...], headers: dict[str, str], status: int
) -> None:
    options = ServerOptions(version="0", cors_origins=origins)
    async with running(HttpService(options=options)) as client:
        answer = await client.call(
            "POST", "/api/dev/token", user=None, json={"user": "alice"}, headers=headers
        )
    assert answer.status == status
    if status == 403:
        assert answer.json["code"] == "foreign_page"


async def test_an_origin_that_is_named_may_ask() -> None:
    options = ServerOptions(version="0", cors_origins=("https://app.example",))
    async with running(HttpService(options=options)) as client:
        for origin, status in (("https://app.example", 200), ("https://app.example.evil", 403)):
            answer = await client.call(
                "POST",
                "/api/dev/token",
                user=None,
                json={"user": "alice"},
                headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"},
            )
            assert answer.status == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:8080"])
async def test_names_of_this_machine(host: str) -> None:
    async with running(HttpService()) as client:
        answer = await client.call(
            "POST", "/api/dev/token", user=None, json={"user": "alice"}, headers={"Host": host}
        )
    assert answer.status == 200


async def test_the_user_is_checked() -> None:
    async with running(HttpService()) as client:
        answer = await client.call("POST", "/api/dev/token", user=None, json={"user": "a,b"})
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "/user"
