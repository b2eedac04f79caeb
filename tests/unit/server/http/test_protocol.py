"""What is not HTTP at all, written to the socket by hand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chatsvc.server.http.protocol import HEADER_FIELD_BYTES, REQUEST_LINE_BYTES
from tests.unit.support.http_service import Client, HttpService, running

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def brief_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.server.http.protocol.LINGER_SECONDS", 0.1)


async def exchange(client: Client, sent: bytes, *, end: bool = False) -> bytes:
    """Write, then read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    try:
        writer.write(sent)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def parse(raw: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, json.loads(body)


HEAD = b"Host: localhost\r\nAuthorization: Bearer token-of-alice\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/9.9\r\n\r\n", 505, "http_version_not_supported"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\nbad header: x\r\n\r\n", 400, "not_http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "not_http"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "not_http",
        ),
        (
            b"GET /" + b"x" * (REQUEST_LINE_BYTES + 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            414,
            "uri_too_long",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: "
            + b"x" * (HEADER_FIELD_BYTES + 1)
            + b"\r\n\r\n",
            431,
            "headers_too_large",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n",
            431,
            "headers_too_large",
        ),
    ],
    ids=["method", "version", "tls", "header", "length", "smuggling", "line", "field", "fields"],
)
async def test_the_parsers_own_errors_are_problem_documents(
    sent: bytes, status: int, code: str
) -> None:
    async with running(HttpService()) as client:
        got, headers, problem = parse(await exchange(client, sent))
        assert (got, problem["code"]) == (status, code)
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Connection"] == "close"
        assert headers["X-Request-Id"] == problem["request_id"]
        assert (await client.send("alice", "bob")).status == 201


async def test_what_was_sent_is_not_told_back() -> None:
    async with running(HttpService()) as client:
        raw = await exchange(client, b"GET / HTTP/1.1\r\nAuthorization Bearer s3cret\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 400 ")
        assert b"s3cret" not in raw


async def test_a_long_request_line_within_the_bound_is_read() -> None:
    async with running(HttpService()) as client:
        people = "%2C".join(f"user{n}{'x' * 110}" for n in range(255))
        line = b"GET /api/messages/get?participants=alice%2C" + people[:60_000].encode()
        raw = await exchange(client, line + b" HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (b"participants=alice%2C%FF", 400),
        (b"participants=alice%2C%C3%A9", 200),
    ],
)
async def test_a_query_is_utf8(query: bytes, status: int) -> None:
    async with running(HttpService()) as client:
        line = b"GET /api/messages/get?" + query + b" HTTP/1.1\r\n"
        got, _, answer = parse(await exchange(client, line + HEAD + b"Connection: close\r\n\r\n"))
        assert got == status
        if status == 400:
            assert answer["code"] == "not_utf8"


async def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    async with running(HttpService()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(
            b"POST /api/messages HTTP/1.1\r\n" + HEAD
            + b"Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
        )  # fmt: skip
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 413 ")
        writer.close()


async def test_a_body_that_will_be_refused_is_not_asked_for() -> None:
    async with running(HttpService()) as client:
        request = b"POST /api/messages HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
        raw = await exchange(
            client, request + b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n"
        )
        status, headers, problem = parse(raw)
        assert (status, problem["code"]) == (413, "body_too_large")
        assert headers["Connection"] == "close"


async def test_a_body_that_waits_to_be_asked_for() -> None:
    body = b'{"participants":["alice"],"content":"hi"}'
    async with running(HttpService()) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(
            b"POST /api/messages HTTP/1.1\r\n" + HEAD
            + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(body)
        )  # fmt: skip
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 201 ")
        writer.close()


async def test_another_expectation() -> None:
    async with running(HttpService()) as client:
        request = b"POST /api/messages HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
        raw = await exchange(client, request + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}")
        status, _, problem = parse(raw)
        assert (status, problem["code"]) == (417, "expectation_failed")
        raw = await exchange(
            client,
            b"GET /nothing HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nConnection: close\r\n\r\n",
        )
        status, _, problem = parse(raw)
        assert (status, problem["code"]) == (417, "expectation_failed")


async def test_broken_chunks() -> None:
    async with running(HttpService()) as client:
        request = b"POST /api/messages HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
        raw = await exchange(client, request + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nnope\r\n")
        status, _, problem = parse(raw)
        assert (status, problem["code"]) in {(400, "bad_body"), (400, "not_http")}
        assert client.service.log.records == []


async def test_a_body_that_does_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsvc.server.http.decoding.BODY_SECONDS", 0.05)
    async with running(HttpService()) as client:
        request = b"POST /api/messages HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(request + b"Content-Length: 100\r\n\r\n{")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_body_cut_short_by_its_sender_is_not_accepted() -> None:
    body = b'{"participants":["alice"],"content":"hi"}'
    async with running(HttpService()) as client:
        request = b"POST /api/messages HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
        await exchange(
            client, request + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body, end=True
        )
        assert client.service.log.records == []


async def test_http_1_0_and_pipelining() -> None:
    async with running(HttpService()) as client:
        raw = await exchange(client, b"GET /health/live HTTP/1.0\r\n\r\n")
        status, headers, body = parse(raw)
        assert (status, headers["Connection"], body) == (200, "close", {"status": "ok"})

        one = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
        last = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        raw = await exchange(client, one * 3 + last)
        assert raw.count(b"HTTP/1.1 200 OK") == 4
        assert raw.count(b'{"status":"ok"}') == 4


async def test_head_has_the_length_and_no_body() -> None:
    async with running(HttpService()) as client:
        raw = await exchange(
            client, b"HEAD /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"Content-Length: 15" in head
        assert body == b""
