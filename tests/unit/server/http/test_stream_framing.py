"""A client always finds the end of a body that is written in parts, and of one that was cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from testkit.waiting import until
from tests.unit.support.streams import (
    HEAD,
    LAST,
    asking,
    exchange,
    service_of,
    serving,
    some,
    streaming,
)

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Uncompressed-Content-Length": "9"},
        {"Content-Disposition": 'attachment; filename="content-length: 1.png"'},
    ],
    ids=["a name", "a value"],
)
async def test_no_header_field_decides_how_the_body_is_framed(headers: dict[str, str]) -> None:
    async with serving(streaming(lambda: some(b"one", FORGED), headers=headers)) as client:
        received, _ = await exchange(client.service.port, asking() + LAST)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body.startswith(b"3\r\none\r\n")


async def test_a_media_type_cannot_begin_a_new_line() -> None:
    kind = "image/png\r\nSet-Cookie: session=evil"
    async with serving(streaming(lambda: some(b"one"), media_type=kind)) as client:
        received, _ = await exchange(client.service.port, asking(last=True))
    assert b"\r\nSet-Cookie:" not in received.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("length", "parts"), [(400, [b"short"]), (3, [b"one", FORGED]), (3, [b"four"])]
)
async def test_parts_of_another_length_than_was_said_abort(length: int, parts: list[bytes]) -> None:
    with capture_logs() as lines:
        async with serving(streaming(lambda: some(*parts), length=length)) as client:
            received, end = await exchange(client.service.port, asking() + LAST)
    assert end == "reset"
    assert FORGED not in received
    assert received.count(b"HTTP/1.1 200") <= 1
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["response_failed"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_no_framing_of_one(status: int) -> None:
    async with serving(streaming(some, status=status)) as client:
        received, _ = await exchange(client.service.port, asking() + LAST)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert rest.startswith(b"HTTP/1.1 200")


async def test_an_empty_part_does_not_end_the_body() -> None:
    async with serving(streaming(lambda: some(b"one", b"", b"two"))) as client:
        received, _ = await exchange(client.service.port, asking(last=True))
    assert received.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("error", [LookupError("gone"), ConnectionResetError("it hung up")])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_part_that_fails_aborts_whatever_the_error_is(
    error: Exception, version: str
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"half of it"
        raise error

    with capture_logs() as lines:
        async with serving(streaming(parts)) as client:
            _, end = await exchange(client.service.port, asking(version))
    assert end == "reset"
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["response_failed"]


async def test_a_stop_does_not_make_half_a_body_look_whole() -> None:
    begun = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"half"
        begun.set()
        await asyncio.Event().wait()

    service = service_of(streaming(parts))
    runner = await service.start()
    runner._shutdown_timeout = 0.1
    exchanged = asyncio.create_task(exchange(service.port, asking("1.0")))
    await begun.wait()
    await runner.cleanup()
    assert (await exchanged)[1] == "reset"


class Closable:
    """An iterator that is not a generator."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> Closable:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("status", [200, 299])
async def test_the_iterator_is_closed_also_where_there_is_no_such_status(status: int) -> None:
    parts: Any = Closable()
    async with serving(streaming(lambda: parts, status=status)) as client:
        await exchange(client.service.port, asking(last=True))
    assert parts.closed == 1


async def test_a_client_that_vanishes_within_a_body_that_it_gets_back_is_no_error() -> None:
    with capture_logs() as lines:
        async with serving(streaming(some)) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
            head = f"PUT /api/echo HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\nabc"
            writer.write(head.encode())
            await reader.readuntil(b"abc")
            writer.transport.abort()
            server = client.service.server
            assert server is not None
            await until(lambda: not server.connections)
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []


async def test_a_client_that_takes_nothing_is_aborted_though_small_parts_come() -> None:
    ended: list[bool] = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"b" * 16_384
                await asyncio.sleep(0.002)
        finally:
            ended.append(True)

    async with serving(streaming(parts), stall_seconds=0.5) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.service.port, limit=1024)
        writer.write(asking())
        await until(lambda: ended, 60)
        writer.transport.abort()


async def test_an_unread_body_is_not_the_next_request() -> None:
    body = LAST * 3
    head = f"PUT /api/unread HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    async with serving(streaming(some)) as client:
        received, _ = await exchange(client.service.port, head + body + LAST)
    assert received.count(b"HTTP/1.1 ") == 2


async def test_a_refused_body_in_chunks_is_not_the_next_request() -> None:
    head = f"PUT /api/sum HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST)
    async with serving(streaming(some, max_bytes=10)) as client:
        received, _ = await exchange(client.service.port, head + chunks + LAST)
    assert received.startswith(b"HTTP/1.1 413")
    assert received.count(b"HTTP/1.1 200") <= 1


async def test_expect_of_http_1_0_is_ignored() -> None:
    more = "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(streaming(some)) as client:
        data = f"PUT /api/sum HTTP/1.0\r\n{HEAD}{more}".encode()
        received, _ = await exchange(client.service.port, data)
    assert received.startswith(b"HTTP/1.1 200")


async def test_an_upload_that_moves_is_not_closed_for_capacity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatsvc.server.http.connection_watch._UNUSED_SECONDS", 0.0)
    async with serving(streaming(some)) as client:
        server = client.service.server
        assert server is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(f"PUT /api/sum HTTP/1.1\r\n{HEAD}Content-Length: 100000\r\n\r\n".encode())
        await until(lambda: [one for one in server.connections if one.body_since])  # type: ignore[attr-defined]
        (one,) = server.connections
        since = one.body_since  # type: ignore[attr-defined]
        writer.write(b"x" * 100)
        await until(lambda: one._body.total_bytes == 100)  # type: ignore[attr-defined]
        assert one.body_since == since  # type: ignore[attr-defined]
        writer.write(b"x" * 50_000)
        await until(lambda: one._body.total_bytes > 16_484)  # type: ignore[attr-defined]
        assert one.body_since > since  # type: ignore[attr-defined]
        writer.write(b"x" * 49_900)
        assert b"100000" in await reader.readuntil(b"}")
        writer.close()
