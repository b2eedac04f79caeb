"""A wrong value is told by field and bound; what is at its bound is accepted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.support.http_service import Client, HttpService, running
from tests.unit.support.problems import JSON, check_problem, post


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


BASE: dict[str, Any] = {"participants": ["alice"], "content": "x"}


def among(user: str) -> dict[str, Any]:
    return BASE | {"participants": ["alice", user]}


WRONG: list[tuple[Any, str, str, int | None]] = [
    ([], "", "wrong_type", None),
    ("text", "", "wrong_type", None),
    (None, "", "wrong_type", None),
    ({"content": "hi"}, "/participants", "missing", None),
    ({"participants": ["alice"]}, "/content", "missing", None),
    ({"participants": "alice", "content": "hi"}, "/participants", "wrong_type", None),
    ({"participants": ["alice", 7], "content": "hi"}, "/participants/1", "wrong_type", None),
    ({"participants": ["alice", None], "content": "hi"}, "/participants/1", "wrong_type", None),
    ({"participants": ["alice"], "content": 7}, "/content", "wrong_type", None),
    ({"participants": ["alice"], "content": None}, "/content", "wrong_type", None),
    (BASE | {"client_id": 7}, "/client_id", "wrong_type", None),
    (BASE | {"metadata": []}, "/metadata", "wrong_type", None),
    (BASE | {"sender": "bob"}, "/sender", "unknown_field", None),
    (BASE | {"a/b~": 1}, "/a~1b~0", "unknown_field", None),
    ({"participants": [], "content": "x"}, "/participants", "too_few", 1),
    (
        {"participants": ["alice"] * 257, "content": "x"},
        "/participants",
        "too_many",
        256,
    ),
    (among("a,b"), "/participants/1", "comma", None),
    (among("a\x07"), "/participants/1", "control_character", None),
    (among("a\x85b"), "/participants/1", "control_character", None),
    (among("x" * 129), "/participants/1", "too_long", 128),
    (among(""), "/participants/1", "too_short", 1),
    (among("e\u0301"), "/participants/1", "not_nfc", None),
    (among(" b"), "/participants/1", "white_space", None),
    ({"participants": ["alice"], "content": ""}, "/content", "too_short", 1),
    ({"participants": ["alice"], "content": "x" * 16_001}, "/content", "too_long", 16_000),
    ({"participants": ["alice"], "content": "a\0b"}, "/content", "nul", None),
    (BASE | {"client_id": ""}, "/client_id", "bad_client_id", 64),
    (
        BASE | {"client_id": "k" * 65},
        "/client_id",
        "bad_client_id",
        64,
    ),
    (BASE | {"client_id": "ü"}, "/client_id", "bad_client_id", 64),
    (
        BASE | {"metadata": {"a": "x" * 4089}},
        "/metadata",
        "too_long",
        4096,
    ),
    (
        BASE | {"metadata": {"a": [[[[[]]]]]}},
        "/metadata",
        "too_deep",
        5,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "pointer", "code", "limit"), WRONG, ids=[f"{code}{at}" for _, at, code, _ in WRONG]
)
async def test_wrong_values(
    client: Client, body: Any, pointer: str, code: str, limit: int | None
) -> None:
    answer = await post(client, json.dumps(body).encode())
    problem = check_problem(answer, 422, code)
    [error] = problem["errors"]
    assert (error["pointer"], error["code"], error.get("limit")) == (pointer, code, limit)
    assert error["detail"]
    assert client.service.log.records == []


@pytest.mark.parametrize("letter", ["e", "é", "𝄞"])
async def test_everything_at_its_bound_is_accepted(client: Client, letter: str) -> None:
    people = [f"{number:03d}{letter * 125}" for number in range(256)]
    metadata = {"a": [[[[1]]]], "b": "x" * 4074}
    assert len(json.dumps(metadata, separators=(",", ":"))) == 4096
    body = {
        "participants": people,
        "content": letter * 16_000,
        "client_id": "k" * 64,
        "metadata": metadata,
    }
    data = json.dumps(body, ensure_ascii=False).encode()
    answer = await client.call("POST", "/api/messages", user=people[0], data=data, headers=JSON)
    assert answer.status == 201
    channel = quote(answer.json["channel"])
    page = await client.call("GET", f"/api/messages/get?channel={channel}", user=people[255])
    assert page.json["messages"] == [answer.json]
    joined = quote(",".join(people))
    page = await client.call("GET", f"/api/messages/get?participants={joined}", user=people[7])
    if len(joined) < 64 * 1024:
        assert page.json["messages"] == [answer.json]
    else:  # beyond what fits into a request line, there is the channel's key
        check_problem(page, 414, "uri_too_long")


async def test_the_sender_is_among_the_participants(client: Client) -> None:
    answer = await client.call(
        "POST", "/api/messages", json={"participants": ["bob", "carol"], "content": "hi"}
    )
    problem = check_problem(answer, 403, "sender_not_participant")
    assert problem["errors"][0]["pointer"] == "/participants"
    assert client.service.log.records == []
