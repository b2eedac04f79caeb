"""Bodies that cannot be read: no JSON, no text, another media type, too long."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.support.http_service import Client, HttpService, running
from tests.unit.support.problems import JSON, check_problem, post


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"nonsense", "malformed_json"),
        (b'{"participants":["alice"],"content":"hi"', "malformed_json"),
        (b'{"participants":["alice"],"content":"hi"} {}', "malformed_json"),
        (b"\xef\xbb\xbf{}", "malformed_json"),
        (b'{"participants":["alice"],"content":"\xff"}', "not_utf8"),
        (
            b'{"participants":["alice"],"content":"hi","metadata":{"a":' + b"[" * 50_000,
            "malformed_json",
        ),
        (b"[" * 50_000, None),
    ],
    # pytest escapes a backslash once more each time that one process collects the test, as
    # mutmut's does: the test would not be found by its name.
    ids=lambda value: str(value)[:40].replace("\\", ""),
)
async def test_not_json(client: Client, body: bytes, code: str | None) -> None:
    answer = await post(client, body)
    if code is None:  # an array where an object is wanted is told before its depth matters
        check_problem(answer, 422, "wrong_type")
    else:
        check_problem(answer, 400, code)
    assert client.service.log.records == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"participants":["alice"],"content":"\\ud800"}', "/content"),
        (b'{"participants":["alice"],"content":"\\ude00 half an emoji"}', "/content"),
        (b'{"participants":["al\\udc00ice"],"content":"hi"}', "/participants/0"),
        (
            b'{"participants":["alice"],"content":"hi","metadata":{"a":[1,{"b/c":"\\uD83d"}]}}',
            "/metadata/a/1/b~1c",
        ),
        (
            b'{"participants":["alice"],"content":"hi","metadata":{"\\ud83d":1}}',
            "/metadata",
        ),
    ],
)
async def test_half_an_emoji_is_named(client: Client, body: bytes, pointer: str) -> None:
    problem = check_problem(await post(client, body), 422, "lone_surrogate")
    assert problem["errors"][0]["pointer"] == pointer
    assert client.service.log.records == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"participants":["alice"],"content":"\\ud83d',
        b'{"content":"\\ud83d\\ude00"',
        b'"\\ud83" "\\ud83d',
    ],
)
async def test_what_is_not_json_is_not_searched_for_half_an_emoji(
    client: Client, body: bytes
) -> None:
    check_problem(await post(client, body), 400, "malformed_json")


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
async def test_another_media_type_says_which_header_to_send(client: Client, kind: str) -> None:
    body = b'{"participants":["alice"],"content":"hi"}'
    headers = {"Content-Type": kind}
    answer = await client.call("POST", "/api/messages", data=body, headers=headers)
    problem = check_problem(answer, 415, "unsupported_media_type")
    assert "Content-Type: application/json" in problem["detail"]
    assert client.service.log.records == []


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "application/json; charset=utf8",
        'application/json;charset="UTF-8"',
        "Application/JSON",
    ],
)
async def test_the_same_media_type_written_otherwise(client: Client, kind: str) -> None:
    body = b'{"participants":["alice"],"content":"hi"}'
    headers = {"Content-Type": kind}
    assert (await client.call("POST", "/api/messages", data=body, headers=headers)).status == 201


async def test_a_compressed_body_is_refused_and_said_how(client: Client) -> None:
    answer = await post(client, b"xxxx", {"Content-Encoding": "gzip"})
    check_problem(answer, 415, "unsupported_content_encoding")
    assert answer.headers["Accept-Encoding"] == "identity"


async def test_a_body_beyond_the_bound(client: Client) -> None:
    answer = await post(client, b" " * (256 * 1024 + 1))
    problem = check_problem(answer, 413, "body_too_large")
    assert problem["errors"][0]["limit"] == 256 * 1024
    assert (await client.send("alice", "bob")).status == 201


async def test_a_chunked_body_beyond_the_bound(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 64 * 1024

    answer = await client.call("POST", "/api/messages", data=chunks(), headers=JSON)
    check_problem(answer, 413, "body_too_large")


async def test_a_chunked_body_within_the_bound(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"participants":["alice"],'
        yield b'"content":"hi"}'

    answer = await client.call("POST", "/api/messages", data=chunks(), headers=JSON)
    assert answer.status == 201
