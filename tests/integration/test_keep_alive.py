"""How long a connection without a request is kept."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from testkit.talking import SOON
from tests.integration.conftest import Serve


async def test_an_idle_connection_is_closed_after_the_time_that_is_set(serve: Serve) -> None:
    _, url = serve(KEEP_ALIVE_SECONDS="1")
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for _ in range(2):
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert head.startswith(b"HTTP/1.1 200 ")
        await asyncio.wait_for(reader.readexactly(len(b'{"status":"ok"}')), SOON)
    assert await asyncio.wait_for(reader.read(), SOON) == b""
    writer.close()
    await writer.wait_closed()
