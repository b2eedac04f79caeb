"""The short way past the router changes nothing that a client can see."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from tests.unit.support.http_service import HttpService, running


@pytest.mark.parametrize(
    "spelling", ["/api/%6Dessages", "/api/messages?", "/api/messages", "/api//messages"]
)
async def test_a_path_in_another_spelling_is_answered_as_before(spelling: str) -> None:
    service = HttpService()
    body = {"participants": ["alice"], "content": "hello"}
    async with running(service) as client:
        url = URL(service.url + spelling, encoded=True)
        headers = {"Authorization": "Bearer token-of-alice"}
        async with client.session.post(url, json=body, headers=headers) as answer:
            assert answer.status == (404 if "//" in spelling else 201)
            assert "X-Request-Id" in answer.headers


async def test_other_methods_of_a_direct_path_still_meet_the_router() -> None:
    async with running(HttpService()) as client:
        answer = await client.call("DELETE", "/api/messages")
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]
        assert (await client.call("HEAD", "/health/live")).status == 200
        assert (await client.call("OPTIONS", "/api/messages")).status == 204


async def test_an_expectation_is_met_before_the_body_is_sent() -> None:
    async with running(HttpService()) as client:
        body = {"participants": ["alice"], "content": "x" * 1000}
        headers = {"Expect": "100-continue"}
        answer = await client.call("POST", "/api/messages", json=body, headers=headers)
        assert answer.status == 201
        headers = {"Expect": "something else"}
        answer = await client.call("POST", "/api/messages", json=body, headers=headers)
        assert answer.status == 417


async def test_a_body_that_comes_in_many_pieces_is_read_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"participants":["alice"],"content":"'
        for _ in range(400):
            yield b"x" * 40
        yield b'"}'

    async with running(HttpService()) as client:
        for _ in range(3):
            headers = {"Content-Type": "application/json"}
            answer = await client.call("POST", "/api/messages", data=pieces(), headers=headers)
            assert answer.status == 201
            assert len(answer.json["content"]) == 16_000
