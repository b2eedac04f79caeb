"""A tiny chat server in memory that can be told to break its promises."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from testkit.service import SECRET

EVERY = 20
"""One message of so many is mistreated."""


@dataclass(eq=False)
class Connection:
    """A socket of a user."""

    user: str
    device: str
    echo: bool
    socket: web.WebSocketResponse


@dataclass(eq=False)
class FaultyServer:
    """``fault``: none, lose, double, swap, to_sender, wrong_person, skip, stale, alter,
    or again (a retry becomes a second message)."""

    fault: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/api/messages", self.post)
        application.router.add_get("/api/messages", self.read)
        application.router.add_get("/api/messages/get", self.read)
        application.router.add_get("/ws", self.socket)
        return application

    @property
    def head(self) -> str:
        return f"e.{len(self.keys):016x}"

    async def post(self, request: web.Request) -> web.Response:
        device, body = request.headers["Chatsvc-Device"], await request.json()
        async with self.turn:
            message, again = await self.accept(user_of(request), device, body)
        return web.json_response(message, status=200 if again else 201)

    async def accept(
        self, user: str, device: str, body: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        participants = sorted(set(body["participants"]))
        key = (user, ",".join(participants), body["client_id"])
        if key in self.keys and self.fault != "again":
            return self.keys[key], True
        number = next(self.numbers)
        message = {"type": "message", "id": f"{number:016x}", "sender": user}
        message |= {"participants": participants, "content": body["content"]}
        message |= {"client_id": body["client_id"], "device": device}
        self.keys[key] = message
        mistreated = number % EVERY == 0
        if not (self.fault == "lose" and mistreated):
            self.messages.append(message)
        for connection in list(self.connections):
            await self.deliver(connection, message, mistreated)
        return message, False

    async def deliver(
        self, connection: Connection, message: dict[str, Any], mistreated: bool
    ) -> None:
        fault = self.fault if mistreated else ""
        member = connection.user in message["participants"]
        own = message["sender"] == connection.user
        wanted = not own or (connection.echo and connection.device != message["device"])
        if (not member and fault != "wrong_person") or (not wanted and fault != "to_sender"):
            return
        if fault == "skip":
            return
        if fault == "alter":
            message = {**message, "content": "something else"}
        if fault == "swap":
            earlier = {**message, "id": f"{int(message['id'], 16) - 1:016x}"}
            await say(connection, {**earlier, "client_id": "swapped"})
        await say(connection, message)
        if fault == "double":
            await say(connection, message)

    async def read(self, request: web.Request) -> web.Response:
        user, query = user_of(request), request.query
        low, high = query.get("after", ""), query.get("before", "g")
        limit = int(query["limit"])
        channel = query.get("participants")
        known = self.messages[:-EVERY] if self.fault == "stale" and limit < 1000 else self.messages
        found = [
            message
            for message in known
            if user in message["participants"]
            and (channel is None or ",".join(message["participants"]) == channel)
            and low < message["id"] < high
        ]
        page = found[:limit] if low else found[-limit:]
        more = len(page) < len(found)
        return web.json_response({"messages": page, "has_more": more, "complete": True})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        since = request.query.get("since")
        connection = Connection(
            user_of(request), request.query["device"], "echo" in request.query, socket
        )
        async with self.turn:
            hello = {"type": "hello", "epoch": "e", "connection_id": "c", "cursor": self.head}
            await say(connection, hello | ({"recovered": True} if since else {}))
            seen = int((since or self.head).split(".")[1], 16)
            for message in list(self.keys.values())[seen:]:
                await self.deliver(connection, message, mistreated=False)
            if since:
                await say(connection, {"type": "caught_up", "cursor": self.head})
            self.connections.add(connection)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self.answer(connection, frame.json())
        finally:
            self.connections.discard(connection)
        return socket

    async def answer(self, connection: Connection, frame: dict[str, Any]) -> None:
        async with self.turn:
            message, again = await self.accept(connection.user, connection.device, frame)
        ack = {"type": "ack", "ref": frame["ref"], "id": message["id"], "duplicate": again}
        await say(connection, ack)


async def say(connection: Connection, frame: dict[str, Any]) -> None:
    """Into the socket, in one step; a closed one is left to its reader."""
    with suppress(ConnectionError):
        await asyncio.wait_for(connection.socket.send_json(frame), 5)


def user_of(request: web.Request) -> str:
    """From its token."""
    given = request.headers["Authorization"].removeprefix("Bearer ")
    return str(jwt.decode(given, SECRET, ["HS256"])["sub"])


@asynccontextmanager
async def running(fault: str) -> AsyncIterator[str]:
    """The URL of a server with this fault."""
    server = TestServer(FaultyServer(fault).application())
    await server.start_server(shutdown_timeout=0.1)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
