"""``Upgrade: h2c`` and the like, written to the socket by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from testkit.waiting import until
from tests.unit.support.http_service import Client, HttpService, running

PATIENCE = 10.0
UPGRADE = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
PLAIN = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
SPOKEN = b'{"status":"ok"}'
SENT = b'{"participants":["alice"],"content":"hi"}'


def get(protocol: bytes = b"h2c") -> bytes:
    return b"GET /health/live HTTP/1.1\r\nUpgrade: %b\r\n" % protocol + UPGRADE + b"\r\n"


def post(*, length: bytes = b"Content-Length: %d" % len(SENT), user: bytes = b"alice") -> bytes:
    return (
        b"POST /api/messages HTTP/1.1\r\nUpgrade: h2c\r\nContent-Type: application/json\r\n"
        + b"Authorization: Bearer token-of-%b\r\n%b\r\n" % (user, length)
        + UPGRADE
        + b"\r\n"
    )


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next one."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
            return head, await self._reader.readexactly(int(length.split(b":")[1]))

    async def rest(self) -> bytes:
        """All until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(HttpService()) as opened:
        yield opened


@pytest.fixture
async def wire(client: Client) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
    yield Wire(reader, writer)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("protocol", [b"h2c", b"TLS/1.0", b"websocket, h2c"])
async def test_it_is_answered_and_the_connection_kept(wire: Wire, protocol: bytes) -> None:
    for _ in range(3):
        wire.write(get(protocol))
        head, body = await wire.answer()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" not in head
        assert body == SPOKEN
    wire.write(PLAIN)
    assert (await wire.answer())[1] == SPOKEN


async def test_a_body_is_read_whole_and_the_connection_kept(wire: Wire, client: Client) -> None:
    wire.write(post() + SENT)
    assert (await wire.answer())[0].startswith(b"HTTP/1.1 201 ")
    wire.write(post())
    await asyncio.sleep(0)  # the server's turn to read: the body comes apart from the head
    wire.write(SENT[:9])
    await asyncio.sleep(0)
    wire.write(SENT[9:])
    head, _ = await wire.answer()
    assert head.startswith(b"HTTP/1.1 201 ")
    assert b"Connection: close" not in head
    wire.write(PLAIN)
    assert (await wire.answer())[1] == SPOKEN
    assert len(client.service.log.records) == 2


@pytest.mark.parametrize(
    "asking",
    [
        get(),
        PLAIN + get(),
        post() + SENT,
        post(length=b"Transfer-Encoding: chunked") + b"29\r\n" + SENT + b"\r\n0\r\n\r\n",
    ],
    ids=["no body", "behind another", "a body", "chunks"],
)
@pytest.mark.parametrize("behind", [PLAIN, PLAIN[:20]], ids=["a request", "half of one"])
async def test_what_came_behind_it_is_known_to_be_unanswered(
    wire: Wire, asking: bytes, behind: bytes
) -> None:
    """The client sees a close, not a silence."""
    wire.write(asking + behind)
    for _ in range(asking.count(b" HTTP/1.1\r\n")):
        head, _ = await wire.answer()
    assert b"Connection: close" in head
    assert await wire.rest() == b""


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("behind", [1, 2, 3, len(PLAIN)])
async def test_the_end_of_a_head_may_be_split_over_reads(
    wire: Wire, client: Client, cut: int, behind: int
) -> None:
    """However few bytes of the next request came with its end, they are known to be lost."""
    asking = get()
    server = client.service.server
    assert server is not None
    wire.write(asking[:-cut])
    await until(lambda: [one for one in server.connections if one._unparsed])  # type: ignore[attr-defined]
    wire.write(asking[-cut:] + PLAIN[:behind])
    head, body = await wire.answer()
    assert (b"Connection: close" in head, body) == (True, SPOKEN)
    assert await wire.rest() == b""


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_head_that_is_split_with_nothing_behind_it_is_kept(
    wire: Wire, client: Client, cut: int
) -> None:
    asking = get()
    server = client.service.server
    assert server is not None
    wire.write(asking[:-cut])
    await until(lambda: [one for one in server.connections if one._unparsed])  # type: ignore[attr-defined]
    wire.write(asking[-cut:])
    assert b"Connection: close" not in (await wire.answer())[0]
    wire.write(PLAIN)
    assert (await wire.answer())[1] == SPOKEN


async def test_the_second_half_of_a_request_is_not_one(wire: Wire, client: Client) -> None:
    """Behind what was thrown away, a body would be taken for a request."""
    inner = post(length=b"Content-Length: %d" % len(SENT)).replace(b"Upgrade: h2c\r\n", b"") + SENT
    outer = b"POST /api/messages HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(inner)
    wire.write(get() + outer)
    wire.write(inner)
    assert (await wire.rest()).count(b"HTTP/1.1 ") == 1
    assert client.service.log.records == []


async def test_a_refusal_before_the_body_came_closes(wire: Wire) -> None:
    """What follows the body cannot be told apart any more once the answer is out."""
    wire.write(post(user=b"nobody").replace(b"Authorization", b"Authorisation"))
    head, _ = await wire.answer()
    assert head.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in head


async def test_a_request_behind_a_refused_websocket_is_answered(wire: Wire) -> None:
    """The one protocol that is spoken, where it is not."""
    wire.write(get(b"websocket") + PLAIN)
    for _ in range(2):
        head, body = await wire.answer()
        assert b"Connection: close" not in head
        assert body == SPOKEN
