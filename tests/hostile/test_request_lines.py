"""Request lines that name another host than ``Host`` does, or another version of HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bench.attacks import answer
from testkit.service import MakeService, token

LOCAL = "localhost"
FOREIGN = "evil.example"
DEV_LOGIN = {"DEV_LOGIN": "loopback"}
USER = b'{"user":"alice"}'


def head(line: str, *fields: str, body: bytes = b"") -> bytes:
    """A request; its connection is closed behind it."""
    lines = [line, *fields, "Connection: close", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def ask(service: Any, data: bytes) -> tuple[int, str]:
    """The status and, of a problem document, the code."""
    status, fields, body = await answer(service.port, data)
    if b"application/problem+json" not in fields:
        return status, ""
    problem = json.loads(body)
    assert problem["status"] == status
    return status, problem["code"]


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (f"http://{FOREIGN}/metrics", LOCAL, (403, "not_local")),
        (f"http://{FOREIGN}:80/metrics", LOCAL, (403, "not_local")),
        (f"https://{FOREIGN}/metrics", LOCAL, (403, "not_local")),
        (f"http://{LOCAL}.{FOREIGN}/metrics", LOCAL, (403, "not_local")),
        ("http://local%68ost/metrics", LOCAL, (403, "not_local")),
        ("/metrics", FOREIGN, (403, "not_local")),
        (f"http://{LOCAL}/metrics", FOREIGN, (200, "")),
        (f"http://{LOCAL}:8080/metrics", FOREIGN, (200, "")),
        ("http://127.0.0.1/metrics", FOREIGN, (200, "")),
        ("http://[::1]:1/metrics", FOREIGN, (200, "")),
        (f"HTTP://{LOCAL.upper()}/metrics", FOREIGN, (200, "")),
        ("/metrics", LOCAL, (200, "")),
    ],
)
async def test_metrics_go_by_the_host_of_an_absolute_target(
    make_service: MakeService, target: str, host: str, expected: tuple[int, str]
) -> None:
    service = make_service()
    await service.start()
    assert await ask(service, head(f"GET {target} HTTP/1.1", f"Host: {host}")) == expected


@pytest.mark.parametrize(
    ("target", "fields", "expected"),
    [
        (f"http://{FOREIGN}", [f"Host: {LOCAL}"], (403, "not_local")),
        (f"http://{LOCAL}", [f"Host: {FOREIGN}"], (200, "")),
        # The page's own host is the target's.
        (f"http://{LOCAL}", [f"Host: {FOREIGN}", f"Origin: http://{FOREIGN}"],
         (403, "foreign_page")),
        (f"http://{LOCAL}", [f"Host: {FOREIGN}", f"Origin: http://{LOCAL}"], (200, "")),
    ],
)  # fmt: skip
async def test_the_development_login_goes_by_the_host_of_an_absolute_target(
    make_service: MakeService, target: str, fields: list[str], expected: tuple[int, str]
) -> None:
    service = make_service(DEV_LOGIN)
    await service.start()
    line = f"POST {target}/api/dev/token HTTP/1.1"
    data = head(line, *fields, "Content-Type: application/json", body=USER)
    assert await ask(service, data) == expected


@pytest.mark.parametrize(
    "target",
    [
        f"ftp://{LOCAL}/metrics",
        f"ws://{LOCAL}/metrics",
        f"file://{LOCAL}/metrics",
        f"http://alice@{LOCAL}/metrics",
        f"http://alice:secret@{LOCAL}/metrics",
        f"http://{FOREIGN}@{LOCAL}/metrics",
        f"http://@{LOCAL}/metrics",
        "http:///metrics",
        "http:/metrics",
        "metrics",
        f"{LOCAL}/metrics",
        f"http://{LOCAL}:99999/metrics",
        f"http://{LOCAL}#@{FOREIGN}/metrics",
        f"http://{LOCAL}\\@{FOREIGN}/metrics",
    ],
)
async def test_a_target_with_another_scheme_or_with_user_information_is_refused(
    make_service: MakeService, target: str
) -> None:
    service = make_service()
    await service.start()
    data = head(f"GET {target} HTTP/1.1", f"Host: {LOCAL}")
    assert await ask(service, data) == (400, "not_http")


async def test_what_an_absolute_target_names_is_served(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    body = b'{"participants":["alice","bob"],"content":"hello"}'
    fields = [f"Host: {FOREIGN}", f"Authorization: Bearer {token('alice')}"]
    data = head(
        f"POST http://{LOCAL}/api/messages HTTP/1.1", *fields, "Content-Type: application/json",
        body=body,
    )  # fmt: skip
    status, sent, _ = await answer(service.port, data)
    assert status == 201
    assert FOREIGN.encode() not in sent
    assert b"\r\nLocation: /api/messages/" in sent
    url = f"http://{LOCAL}/api/messages/get?participants=alice%2Cbob"
    status, _, page = await answer(service.port, head(f"GET {url} HTTP/1.1", *fields))
    assert status == 200
    assert [one["content"] for one in json.loads(page)["messages"]] == ["hello"]


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9"])
async def test_another_version_of_http_is_not_served(
    make_service: MakeService, version: str
) -> None:
    service = make_service()
    await service.start()
    data = head(f"GET /health/live {version}", f"Host: {LOCAL}")
    assert await ask(service, data) == (505, "http_version_not_supported")


async def test_a_request_line_without_a_version_is_not_served(make_service: MakeService) -> None:
    service = make_service()
    await service.start()
    data = b"GET /health/live\r\n\r\n"
    assert await ask(service, data) == (505, "http_version_not_supported")


async def test_requests_before_one_that_is_refused_are_answered(make_service: MakeService) -> None:
    """Also where the end of a body and the refused request arrive together."""
    service = make_service()
    await service.start()
    body = b'{"users":["a"]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    async with asyncio.timeout(60):
        json_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"POST /api/connections HTTP/1.1\r\nHost: a\r\n{json_body}\r\n\r\n".encode())
        writer.write(body[:5])
        # Once this is answered the server has read the beginning.
        assert (await answer(service.port, head("GET /health/live HTTP/1.1", "Host: a")))[0] == 200
        writer.write(body[5:] + head("GET /health/live HTTP/2.0", "Host: a"))
        answers = await reader.read()
        writer.close()
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b'{"connections":{"a":0}}HTTP/1.1 505 ' in answers
