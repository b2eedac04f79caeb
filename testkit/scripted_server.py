"""A server that speaks the protocol exactly as a test tells it to.

The test accepts each WebSocket and says every frame itself; the HTTP interface answers
from a list of records, after whatever answers were put in front. Who is connected and
which conversations there are it answers beside those, where a test has set it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from chatsvc.core.ids import format_id, id_at

PATIENCE = 10.0
"""Seconds until a wait for something that should have happened is a failure."""

EPOCH = "e1"


def message_id(number: int) -> str:
    """Ids that ascend with ``number``."""
    return format_id(id_at(1_763_700_000_000 + number))


def cursor(number: int, epoch: str = EPOCH) -> str:
    return f"{epoch}.{message_id(number)}"


def message(number: int, content: str = "", *, sender: str = "bob", **more: Any) -> dict[str, Any]:
    """A message frame, which is the message."""
    return {
        "type": "message",
        "id": message_id(number),
        "channel": "alice,bob",
        "sender": sender,
        "content": content or f"number {number}",
        "created_at": "2026-11-21T12:00:00.000Z",
        "participants": ["alice", "bob"],
        **more,
    }


def change(number: int, kind: str, *, sender: str = "bob", **more: Any) -> dict[str, Any]:
    """A frame of a record that is no message."""
    return {
        "type": kind,
        "id": message_id(number),
        "created_at": "2026-11-21T12:00:00.000Z",
        "channel": "alice,bob",
        "sender": sender,
        **more,
    }


@dataclass
class Peer:
    """The server's end of one WebSocket."""

    socket: web.WebSocketResponse
    request: web.Request
    done: asyncio.Event

    @property
    def since(self) -> str | None:
        return self.request.query.get("since")

    @property
    def token(self) -> str:
        return self.request.headers["Authorization"].removeprefix("Bearer ")

    async def say(self, *frames: dict[str, Any]) -> None:
        for frame in frames:
            await self.socket.send_str(json.dumps(frame))

    async def hello(self, at: int = 0, **more: Any) -> None:
        await self.say(
            {
                "type": "hello",
                "user": "alice",
                "connection_id": "c1",
                "protocol": "chatsvc.v1",
                "server": "scripted",
                "features": [],
                "epoch": EPOCH,
                "cursor": cursor(at),
                "heartbeat_seconds": 30.0,
                "max_content": 16000,
                "expires_at": 2_000_000_000,
                **more,
            }
        )

    async def hear(self) -> dict[str, Any]:
        """The next frame from the client."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.receive()
        assert frame.type is WSMsgType.TEXT, frame
        heard: dict[str, Any] = json.loads(frame.data)
        return heard

    async def ack(self, number: int, send: dict[str, Any], **more: Any) -> None:
        await self.say(
            {
                "type": "ack",
                "ref": send["ref"],
                "id": message_id(number),
                "created_at": "2026-11-21T12:00:00.000Z",
                **more,
            }
        )

    async def heard_close(self) -> int | None:
        """Wait for the client to close; its close code."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self.socket.receive()
                if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                    break
        self.done.set()
        return self.socket.close_code

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code=code, message=reason.encode())
        self.done.set()

    def drop(self) -> None:
        """End it without a close frame."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()
        self.done.set()


class ScriptedServer:
    """See the module's text."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.answers: deque[Callable[[web.Request], Awaitable[web.StreamResponse]]] = deque()
        self.requests: list[web.Request] = []
        self.refusals: deque[web.Response] = deque()
        self.complete = True
        self.connected: dict[str, int] | None = None
        self.conversations: list[dict[str, Any]] | None = None
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self.url = ""

    async def accept(self) -> Peer:
        """The next WebSocket that the client opens."""
        async with asyncio.timeout(PATIENCE):
            return await self._peers.get()

    async def greet(self, at: int = 0, **more: Any) -> Peer:
        """Accept, and say hello."""
        peer = await self.accept()
        await peer.hello(at, **more)
        return peer

    @property
    def connections(self) -> int:
        """How many were accepted altogether."""
        return len(self._all)

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        """Put an answer in front of the next request to the HTTP interface."""

        problem = status >= 400 and isinstance(body, dict)

        async def give(_: web.Request) -> web.StreamResponse:
            return web.json_response(
                body,
                status=status,
                headers={k.replace("_", "-"): v for k, v in headers.items()},
                content_type="application/problem+json" if problem else "application/json",
            )

        self.answers.append(give)

    def hang_up(self) -> None:
        """End the next request's connection instead of answering."""

        async def end(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self.answers.append(end)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refusals:
            return self.refusals.popleft()
        socket = web.WebSocketResponse(compress=False, protocols=("chatsvc.v1",))
        await socket.prepare(request)
        peer = Peer(socket, request, asyncio.Event())
        self._all.append(peer)
        self._peers.put_nowait(peer)
        await peer.done.wait()
        return socket

    async def _http(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await request.read()
        if request.path == "/api/connections" and self.connected is not None:
            users = json.loads(await request.read())["users"]
            counts = {user: self.connected.get(user, 0) for user in users}
            return web.json_response({"connections": counts})
        if request.path == "/api/conversations" and self.conversations is not None:
            return web.json_response({"conversations": self.conversations, "has_more": False})
        if self.answers:
            return await self.answers.popleft()(request)
        if request.method == "GET" and request.path == "/api/messages":
            return web.json_response(self._page(request))
        if request.method == "GET" and request.path == "/api/changes":
            return web.json_response(self._changes(request))
        return web.json_response({"code": "not_found", "detail": "no such thing"}, status=404)

    def _page(self, request: web.Request) -> dict[str, Any]:
        after = request.query.get("after", "")
        limit = int(request.query["limit"])
        found = [one for one in self.history if one["id"] > after]
        page = found[:limit]
        return {
            "messages": page,
            "has_more": len(found) > limit,
            "before": page[0]["id"] if page else after,
            "after": page[-1]["id"] if page else after,
            "complete": self.complete,
        }

    def _changes(self, request: web.Request) -> dict[str, Any]:
        """Looks at ``limit`` records, whatever their kind; ``up_to`` is the last of them."""
        kinds = request.query["kinds"].split(",") if "kinds" in request.query else None
        above = [one for one in self.history if one["id"] > request.query.get("after", "")]
        looked_at = above[: int(request.query["limit"])]
        return {
            "frames": [one for one in looked_at if kinds is None or one["type"] in kinds],
            "up_to": looked_at[-1]["id"] if looked_at else request.query.get("after", "0" * 16),
            "has_more": len(above) > len(looked_at),
            "complete": self.complete,
        }

    @asynccontextmanager
    async def serve(self, ssl: SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
        """Listen on a free port of the loopback interface."""
        app = web.Application()
        app.router.add_get("/ws", self._socket)
        app.router.add_route("*", "/{path:.*}", self._http)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server(ssl=ssl)
        self.url = f"{'https' if ssl else 'http'}://127.0.0.1:{server.port}"
        try:
            yield self
        finally:
            for peer in self._all:
                peer.done.set()
            await server.close()
