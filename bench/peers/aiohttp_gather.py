"""A straightforward server: aiohttp, and ``gather`` over ``ws.send_str``."""

from __future__ import annotations

import asyncio
import os

import uvloop
from aiohttp import web

_sockets: set[web.WebSocketResponse] = set()


async def socket(request: web.Request) -> web.WebSocketResponse:
    """Keep a client until it disconnects; its frames are ignored."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    _sockets.add(ws)
    try:
        async for _ in ws:
            continue
    finally:
        _sockets.discard(ws)
    return ws


async def publish(request: web.Request) -> web.Response:
    """Send the body to all clients."""
    body = await request.text()
    await asyncio.gather(*[ws.send_str(body) for ws in _sockets])
    return web.Response(status=201, text=body, content_type="application/json")


async def page(request: web.Request) -> web.Response:
    """Return the requested number of bytes."""
    return web.Response(body=b"x" * int(request.query["bytes"]), content_type="application/json")


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.add_routes([web.get("/ws", socket), web.post("/publish", publish), web.get("/page", page)])
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        access_log=None,
        backlog=4096,
        loop=uvloop.new_event_loop(),
        print=None,
    )


if __name__ == "__main__":
    main()
