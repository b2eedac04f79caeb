"""Bodies in parts: an operation that reads one as it arrives, and one that writes one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp.web_protocol import RequestHandler
from structlog.testing import capture_logs

from chatsvc.api.access import USER
from chatsvc.api.body import Parts, StreamedBody, StreamedReply
from chatsvc.api.feature import Feature
from chatsvc.api.operation import Operation, Reply
from chatsvc.server.http.application import ServerOptions, build_application
from testkit.authenticator import FakeAuthenticator, named_by_token
from testkit.waiting import until
from tests.unit.support.http_service import Client, HttpService, running

BOUND = 300_000
HEAD = "Host: x\r\nAuthorization: Bearer token-of-alice\r\nContent-Type: image/png\r\n"


class NameRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A name in the query string."""

    name: str


class CopyHeaders(msgspec.Struct):
    """One header."""

    device: str | None = None


class Stored(msgspec.Struct, kw_only=True):
    """What arrived."""

    name: str
    sizes: list[int]
    total: int


class Files:
    """The two operations, and what became of them."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.closed = 0
        self.made = 0
        self.parts = [b"one", b"two" * 50_000, b"three"]
        self.fails_after: int | None = None

    async def put(
        self, caller: Any, request: NameRequest, headers: CopyHeaders, body: Parts
    ) -> Reply:
        assert headers.device in (None, "phone")
        async for part in body:
            self.received.append(part)
        sizes = [len(part) for part in self.received]
        return Reply(201, Stored(name=request.name, sizes=sizes, total=sum(sizes)))

    async def get(self, caller: Any, request: NameRequest) -> Reply:
        length = sum(map(len, self.parts)) if request.name == "sized" else None
        return Reply(200, StreamedReply(self.written(), "image/png", length), {"ETag": '"1"'})

    async def written(self) -> AsyncIterator[bytes]:
        try:
            for number, part in enumerate(self.parts):
                if number == self.fails_after:
                    raise LookupError("the file is gone")
                self.made += 1
                yield part
        finally:
            self.closed += 1

    def feature(self) -> Feature:
        common: dict[str, Any] = {"access": USER, "request": NameRequest, "tag": "files"}
        return Feature(
            name="files",
            operations=(
                Operation(
                    name="put_file",
                    method="PUT",
                    path="/api/files",
                    summary="Write a file",
                    responses={201: ("Written.", Stored)},
                    stream=StreamedBody(("image/png", "image/gif"), BOUND),
                    headers=CopyHeaders,
                    header_names={"device": "Chatsvc-Device"},
                    handler=self.put,
                    **common,
                ),
                Operation(
                    name="get_file",
                    method="GET",
                    path="/api/files",
                    summary="Read a file",
                    responses={200: ("The file.", ("image/png",))},
                    handler=self.get,
                    **common,
                ),
            ),
        )


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
async def client(files: Files) -> AsyncIterator[Client]:
    service = HttpService()
    service.application = build_application(
        features=[files.feature()],
        commands=service.commands,
        authenticator=FakeAuthenticator(named_by_token),
        limits=service.limits,
        health_report=lambda: service.health,
        metrics=service.metrics,
        options=ServerOptions(version="0"),
    )
    async with running(service) as client:
        yield client


PNG = {"Content-Type": "image/png"}


def unsent_by(connection: RequestHandler) -> int:
    transport = connection.transport
    return 0 if transport is None else transport.get_write_buffer_size()


async def test_a_body_above_the_bound_of_json_is_read_in_parts(
    client: Client, files: Files
) -> None:
    body = b"x" * BOUND  # the bound of JSON is 262,144
    headers = PNG | {"Chatsvc-Device": "phone"}
    answer = await client.call("PUT", "/api/files?name=a", data=body, headers=headers)
    assert (answer.status, answer.json["name"], answer.json["total"]) == (201, "a", BOUND)
    assert b"".join(files.received) == body
    assert len(files.received) > 1
    assert all(files.received)


async def test_a_body_without_parts_has_none(client: Client, files: Files) -> None:
    answer = await client.call("PUT", "/api/files?name=a", data=b"", headers=PNG)
    assert (answer.status, answer.json["sizes"]) == (201, [])


async def test_a_body_above_its_bound_is_refused_before_it_is_read(
    client: Client, files: Files
) -> None:
    body = b"x" * (BOUND + 1)
    answer = await client.call("PUT", "/api/files?name=a", data=body, headers=PNG)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert answer.json["errors"][0]["limit"] == BOUND
    assert files.received == []


async def test_without_a_length_it_is_refused_where_it_exceeds_the_bound(
    client: Client, files: Files
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 100_000

    answer = await client.call("PUT", "/api/files?name=a", data=parts(), headers=PNG)
    assert (answer.status, answer.json["code"]) == (413, "body_too_large")
    assert sum(map(len, files.received)) <= BOUND


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/html"}, "unsupported_media_type"),
        ({"Content-Type": ""}, "unsupported_media_type"),
        (PNG | {"Content-Encoding": "gzip"}, "unsupported_content_encoding"),
    ],
)
async def test_another_kind_of_body_is_refused(
    client: Client, files: Files, headers: dict[str, str], code: str
) -> None:
    answer = await client.call("PUT", "/api/files?name=a", data=b"x", headers=headers)
    assert (answer.status, answer.json["code"]) == (415, code)
    assert files.received == []


async def test_the_media_type_is_compared_without_parameters_and_case(client: Client) -> None:
    headers = {"Content-Type": "Image/GIF; q=1"}
    assert (await client.call("PUT", "/api/files?name=a", data=b"x", headers=headers)).status == 201


async def test_its_parameters_are_those_of_the_query(client: Client, files: Files) -> None:
    answer = await client.call("PUT", "/api/files", data=b"x", headers=PNG)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/name")
    assert files.received == []


async def test_a_part_that_does_not_come_is_not_waited_for(
    client: Client, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.server.http.streaming.PART_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    writer.write(f"PUT /api/files?name=a HTTP/1.1\r\n{HEAD}Content-Length: 10\r\n\r\nabc".encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert files.received == [b"abc"]
    writer.close()


async def test_a_client_that_goes_away_within_the_body_is_no_error(
    client: Client, files: Files
) -> None:
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        head = f"PUT /api/files?name=a HTTP/1.1\r\n{HEAD}Content-Length: 10\r\n\r\nabc"
        writer.write(head.encode())
        await until(lambda: files.received)
        writer.transport.abort()
        await until(lambda: [line for line in lines if line["event"] == "request"])
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []


async def test_expect_is_answered_by_the_bound_of_the_stream(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    start = f"PUT /api/files?name=a HTTP/1.1\r\n{HEAD}Expect: 100-continue\r\n"
    writer.write(f"{start}Content-Length: {BOUND}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"x" * BOUND)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")
    writer.close()


async def test_a_response_in_parts_is_chunked(client: Client, files: Files) -> None:
    answer = await client.call("GET", "/api/files?name=a")
    assert answer.status == 200
    assert answer.body == b"".join(files.parts)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["X-Request-Id"]
    assert "Content-Length" not in answer.headers
    assert files.closed == 1
    again = await client.call("GET", "/api/files?name=a")
    assert again.body == answer.body


async def test_a_response_of_a_known_length_says_it(client: Client, files: Files) -> None:
    answer = await client.call("GET", "/api/files?name=sized")
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "Transfer-Encoding" not in answer.headers
    assert answer.body == b"".join(files.parts)


async def test_head_has_no_body_and_makes_no_part(client: Client, files: Files) -> None:
    answer = await client.call("HEAD", "/api/files?name=sized")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(sum(map(len, files.parts)))
    assert files.made == 0


async def test_http_1_0_gets_it_up_to_the_end_of_the_connection(
    client: Client, files: Files
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    writer.write(f"GET /api/files?name=a HTTP/1.0\r\n{HEAD}Connection: keep-alive\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert body == b"".join(files.parts)
    writer.close()


async def test_a_part_that_fails_ends_the_connection(client: Client, files: Files) -> None:
    files.fails_after = 2
    with capture_logs() as lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(f"GET /api/files?name=a HTTP/1.1\r\n{HEAD}\r\n".encode())
        received = b""
        try:
            while part := await reader.read(1 << 16):
                received += part
        except ConnectionResetError:
            received += b""
    assert received.startswith(b"HTTP/1.1 200 ")
    assert not received.endswith(b"0\r\n\r\n")
    [failed] = [line for line in lines if line["event"] == "response_failed"]
    assert failed["path"] == "/api/files"
    assert files.closed == 1
    writer.close()


async def test_a_client_that_does_not_read_holds_the_next_part_back(
    client: Client, files: Files
) -> None:
    files.parts = [b"x" * 1_000_000] * 40
    _, writer = await asyncio.open_connection("127.0.0.1", client.service.port, limit=1024)
    writer.write(f"GET /api/files?name=a HTTP/1.1\r\n{HEAD}\r\n".encode())
    server = client.service.server
    assert server is not None
    connections = server.connections
    await until(lambda: [one for one in connections if unsent_by(one)])
    assert files.made < len(files.parts)  # what the kernel's buffers hold, and one
    writer.transport.abort()
    await until(lambda: files.closed)


async def test_the_document_says_so(client: Client) -> None:
    document = (await client.call("GET", "/openapi.json")).json
    put = document["paths"]["/api/files"]["put"]
    assert list(put["requestBody"]["content"]) == ["image/png", "image/gif"]
    assert [one["name"] for one in put["parameters"]] == ["name", "Chatsvc-Device"]
    assert {"408", "413", "415"} <= set(put["responses"])
    assert "NameRequest" not in document["components"]["schemas"]
