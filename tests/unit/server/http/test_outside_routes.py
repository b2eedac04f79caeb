"""Requests that reach no route: their log line, their metric, and who may read the answer."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from chatsvc.server.http.application import ServerOptions
from chatsvc.server.http.middleware import Cors
from chatsvc.server.http.outside_routes import OutsideRoutes
from testkit.waiting import until
from tests.unit.support.http_service import Client, HttpService, running

HEAD = b"Host: localhost\r\nOrigin: https://app.example.org\r\n"
JSON = b"Content-Type: application/json\r\n"
UNPARSED = {
    b" 414 ": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b" 431 ": b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    b" 400 ": b"GARBAGE\r\n\r\n",
}
EXPECTATIONS = {
    b" 413 ": b"Expect: 100-continue\r\nContent-Length: 10000000\r\n",
    b" 417 ": b"Expect: 200-ok\r\nContent-Length: 2\r\n",
}


async def first_head(client: Client, sent: bytes) -> bytes:
    """Write, and read the first head, in lower case."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    try:
        writer.write(sent)
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
    finally:
        writer.close()


@pytest.mark.parametrize("status", UNPARSED)
async def test_pages_of_other_origins_can_read_what_is_wrong(status: bytes) -> None:
    """The head was not parsed, so its origin is not known: ``fetch`` must not fail for that."""
    options = ServerOptions(version="0", cors_origins=("https://app.example.org",))
    async with running(HttpService(options=options)) as client:
        head = await first_head(client, UNPARSED[status])
    assert status in head
    assert b"\r\naccess-control-allow-origin: *\r\n" in head
    assert b"x-request-id" in head.partition(b"access-control-expose-headers:")[2]


@pytest.mark.parametrize("origin", ["https://app.example.org", "https://other.example.org"])
def test_a_failure_with_a_known_origin_is_readable_where_the_rest_is(origin: str) -> None:
    outside = OutsideRoutes(lambda *_: None, Cors(["https://app.example.org"]))
    request = make_mocked_request("GET", "/", headers={"Origin": origin})
    with capture_logs():
        response = outside.failed(request, RuntimeError("not on purpose"), 500, begun=False)
    allowed = origin == "https://app.example.org"
    assert (f"Access-Control-Allow-Origin: {origin}\r\n" in response.lines) is allowed
    assert "Access-Control-Allow-Origin: *" not in response.lines
    assert "Vary: Origin" in response.lines


@pytest.mark.parametrize("status", UNPARSED)
async def test_without_such_pages_there_is_no_such_header(status: bytes) -> None:
    async with running(HttpService()) as client:
        head = await first_head(client, UNPARSED[status])
    assert status in head
    assert b"access-control" not in head


@pytest.mark.parametrize(
    ("status", "path"),
    [  # an unknown path is 404 for a body of any length
        (b" 413 ", b"/api/messages"),
        (b" 417 ", b"/api/messages"),
        (b" 417 ", b"/unknown"),
    ],
)
async def test_a_refused_expectation_has_its_line_metric_and_headers(
    status: bytes, path: bytes
) -> None:
    options = ServerOptions(version="0", cors_origins=("https://app.example.org",))
    service = HttpService(options=options)
    sent = b"POST " + path + b" HTTP/1.1\r\n" + HEAD + JSON + EXPECTATIONS[status] + b"\r\n"
    with capture_logs() as lines:
        async with running(service) as client:
            head = await first_head(client, sent)
    assert status in head
    assert b"\r\naccess-control-allow-origin: https://app.example.org\r\n" in head
    request_id = head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
    (line,) = [one for one in lines if one["event"] == "request"]
    assert (line["request_id"], line["status"]) == (request_id, int(status))
    assert line["code"] in ("body_too_large", "payload_too_large", "expectation_failed")
    assert b'status="%d"' % int(status) in service.metrics.render()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /wp-login.php", b" 404 "),
        (b"POST /api/messages", b" 401 "),
        (b"GET /health/live", b" 200 "),
    ],
)
async def test_a_client_that_never_sends_its_body_is_no_error_of_the_server(
    line: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can do that, without a token: it must not set off an alarm on errors."""
    service = HttpService()
    with caplog.at_level(logging.INFO), capture_logs() as lines:
        async with running(service) as client:
            sent = line + b" HTTP/1.1\r\nHost: localhost\r\n" + JSON + b"Content-Length: 10\r\n\r\n"
            assert status in await first_head(client, sent)
            server = service.server
            assert server is not None
            await until(lambda: server.open == 0)
    assert not [one for one in lines if one["log_level"] in ("warning", "error")]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
