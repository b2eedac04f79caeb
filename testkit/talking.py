"""Sockets against a running service, by another implementation, and the tokens of users."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from chatsvc.auth.minting import mint
from testkit.process import Process

SECRET = "0123456789abcdef0123456789abcdef"
SETTINGS = {
    "JWT_SECRET": SECRET,
    "PORT": "0",
    "LOG_FORMAT": "json",
    "STORE": "sqlite",
    "HEARTBEAT_SECONDS": "600",  # or it would come between what a test waits for
}
STARTED = r'"event":"started","url":"(http://[^"]+)"'
SOON = 20.0
"""Seconds after which what must come is given up."""


def token(user: str, ttl: float = 600) -> str:
    return mint(SECRET.encode(), user, ttl)


def bearer(user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user)}"}


def url_of(process: Process) -> str:
    return str(process.wait_for(STARTED, err=True)[1])


class Talk:
    """One open socket; frames as objects. Its ``hello`` has been read."""

    def __init__(self, ws: ClientConnection, user: str) -> None:
        self.ws = ws
        self.user = user
        self.hello: dict[str, Any] = {}
        self.refs = 0

    async def next(self, *skip: str) -> dict[str, Any]:
        """The next frame whose type is not among ``skip``."""
        while True:
            frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.ws.recv(), SOON))
            if frame["type"] not in skip:
                return frame

    async def take(self, count: int, kind: str = "message") -> list[dict[str, Any]]:
        """So many frames, all of one type; where the position moves is passed over."""
        frames = [await self.next("cursor") for _ in range(count)]
        assert {frame["type"] for frame in frames} <= {kind}, frames
        return frames

    async def put(self, frame: dict[str, Any]) -> None:
        await self.ws.send(json.dumps(frame, ensure_ascii=False))

    async def say(self, *to: str, content: str = "hello", **more: Any) -> dict[str, Any]:
        """Send a message to oneself and others; the ``ack`` or ``error``."""
        self.refs += 1
        ref = f"r{self.refs}"
        participants = [self.user, *to]
        await self.put(
            {"type": "send", "ref": ref, "participants": participants, "content": content, **more}
        )
        while True:
            frame = await self.next()
            if frame.get("ref") == ref:
                return frame

    async def ping(self) -> list[dict[str, Any]]:
        """Everything that came up to now, the ``pong`` excluded."""
        await self.put({"type": "ping", "ref": "now"})
        found: list[dict[str, Any]] = []
        while (frame := await self.next()) != {"type": "pong", "ref": "now"}:
            found.append(frame)
        return found

    async def closed(self) -> tuple[int, str]:
        """Wait for the end; its code and reason."""
        try:
            while True:
                await asyncio.wait_for(self.ws.recv(), SOON)
        except ConnectionClosed as exc:
            received = exc.rcvd
            return (received.code, received.reason) if received else (1006, "")


def ws_url(url: str, **query: str) -> str:
    text = f"?{urlencode(query)}" if query else ""
    return f"{url.replace('http', 'ws', 1)}/ws{text}"


@asynccontextmanager
async def talk(
    url: str, user: str = "alice", *, ttl: float = 600, browser: bool = False, **query: str
) -> AsyncIterator[Talk]:
    """A socket of ``user``; with ``browser`` the token goes by subprotocol."""
    sent = token(user, ttl)
    protocols = [Subprotocol("chatsvc.v1"), Subprotocol(f"bearer.{sent}")] if browser else None
    headers = None if browser else {"Authorization": f"Bearer {sent}"}
    async with websockets.connect(
        ws_url(url, **query),
        additional_headers=headers,
        subprotocols=protocols,
        max_size=None,
        max_queue=None,
        compression=None,
        ping_interval=None,
        open_timeout=SOON,
        proxy=None,
    ) as ws:
        one = Talk(ws, user)
        one.hello = await one.next()
        yield one


def log_lines(process: Process, event: str) -> list[dict[str, Any]]:
    """Lines of the service's log about one kind of event."""
    lines = [json.loads(line) for line in process.err.splitlines() if line.startswith("{")]
    return [line for line in lines if re.fullmatch(event, line["event"])]
