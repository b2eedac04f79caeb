"""``GET /api/conversations`` over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.support.http_service import Client, HttpService, running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


async def test_newest_first_with_the_last_message(client: Client) -> None:
    await client.send("alice", "bob", content="1")
    carol = await client.send("alice", "carol", content="2")
    bob = await client.send("alice", "bob", content="3")
    await client.send("bob", "carol", content="not alice's")
    answer = await client.call("GET", "/api/conversations")
    assert answer.json == {
        "conversations": [
            {
                "channel": "alice,bob",
                "participants": ["alice", "bob"],
                "last_message": bob.json,
            },
            {
                "channel": "alice,carol",
                "participants": ["alice", "carol"],
                "last_message": carol.json,
            },
        ],
        "has_more": False,
        "before": carol.json["id"],
        "complete": True,
    }


async def test_pages_go_on_with_before(client: Client) -> None:
    for name in ("b", "c", "d"):
        await client.send("a", name)
    first = (await client.call("GET", "/api/conversations?limit=2", user="a")).json
    assert [row["channel"] for row in first["conversations"]] == ["a,d", "a,c"]
    assert first["has_more"] is True
    path = f"/api/conversations?limit=2&before={first['before']}"
    second = (await client.call("GET", path, user="a")).json
    assert [row["channel"] for row in second["conversations"]] == ["a,b"]
    assert second["has_more"] is False
    path = f"/api/conversations?before={second['before']}"
    last = (await client.call("GET", path, user="a")).json
    assert last["conversations"] == []
    assert last["before"] == second["before"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=1001", "/limit"), ("before=x", "/before")],
)
async def test_bad_bounds(client: Client, query: str, pointer: str) -> None:
    answer = await client.call("GET", f"/api/conversations?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == pointer
    assert "limit" in answer.json["errors"][0]
