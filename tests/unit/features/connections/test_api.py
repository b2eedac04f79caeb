"""``POST /api/connections`` over real HTTP."""

from __future__ import annotations

import pytest

from tests.unit.support.http_service import HttpService, running


async def test_everybody_asked_for_is_answered_for() -> None:
    async with running(HttpService()) as client:
        answer = await client.call(
            "POST", "/api/connections", user=None, json={"users": ["alice", "bob", "alice"]}
        )
    assert answer.status == 200
    assert answer.json == {"connections": {"alice": 2, "bob": 0}}


async def test_with_the_setting_it_asks_for_a_token() -> None:
    async with running(HttpService(connections_need_token=True)) as client:
        body = {"users": ["alice"]}
        without = await client.call("POST", "/api/connections", user=None, json=body)
        assert without.status == 401
        assert without.json["code"] == "token_missing"
        assert (await client.call("POST", "/api/connections", json=body)).status == 200


@pytest.mark.parametrize(
    ("users", "pointer", "limit"),
    [
        ([], "/users", 1),
        (["u"] * 1001, "/users", 1000),
        (["a", "x" * 129], "/users/1", 128),
        (["a", "b,c"], "/users/1", None),
    ],
)
async def test_bounds(users: list[str], pointer: str, limit: int | None) -> None:
    async with running(HttpService()) as client:
        answer = await client.call("POST", "/api/connections", user=None, json={"users": users})
    assert answer.status == 422
    [error] = answer.json["errors"]
    assert (error["pointer"], error.get("limit")) == (pointer, limit)


async def test_a_thousand_are_answered() -> None:
    users = [f"u{number}" for number in range(1000)]
    async with running(HttpService()) as client:
        answer = await client.call("POST", "/api/connections", user=None, json={"users": users})
    assert answer.json["connections"] == dict.fromkeys(users, 0)
