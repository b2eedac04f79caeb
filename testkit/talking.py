"""Sockets against a running service: by another implementation, and byte by byte."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

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


class Raw:
    """A TCP connection on which a test says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def dial(cls, url: str, **options: Any) -> Raw:
        parts = urlsplit(url)
        assert parts.hostname
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, **options))

    @classmethod
    async def upgraded(cls, url: str, user: str, early: bytes = b"", path: str = "/ws") -> Raw:
        """After the handshake; ``early`` goes out in the same write as the request."""
        raw = await cls.dial(url)
        raw.write(handshake(user, path) + early)
        raw.head = await asyncio.wait_for(raw.reader.readuntil(b"\r\n\r\n"), SOON)
        assert raw.head.startswith(b"HTTP/1.1 101 "), raw.head
        return raw

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self, *, pings: bool = False) -> tuple[int, bytes]:
        """One frame from the server: opcode and payload. Heartbeats are passed over unless
        they are what is looked for."""
        while True:
            opcode, payload = await self._frame()
            if opcode != 9 or pings:
                return opcode, payload

    async def _frame(self) -> tuple[int, bytes]:
        head = await asyncio.wait_for(self.reader.readexactly(2), SOON)
        assert head[0] & 0x80, "a server's frames come whole"
        assert not head[1] & 0x80, "a server does not mask"
        size = head[1]
        if size == 126:
            size = struct.unpack(">H", await self.reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", await self.reader.readexactly(8))[0]
        payload = await asyncio.wait_for(self.reader.readexactly(size), SOON)
        return head[0] & 0x0F, payload

    async def json(self) -> dict[str, Any]:
        opcode, payload = await self.frame()
        assert opcode == 1, (opcode, payload)
        frame: dict[str, Any] = json.loads(payload)
        return frame

    async def close_code(self) -> int:
        """The code of the close frame that comes, whatever comes before it; then the end."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                break
        rest = await asyncio.wait_for(self.reader.read(), SOON)
        assert rest == b"", "nothing follows a close frame"
        return int.from_bytes(payload[:2], "big")

    async def finish(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


def handshake(user: str, path: str = "/ws", **headers: str) -> bytes:
    fields = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Authorization": f"Bearer {token(user)}",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """A client's frame; without ``mask``, one that no client may send."""
    size = len(payload)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def log_lines(process: Process, event: str) -> list[dict[str, Any]]:
    """Lines of the service's log about one kind of event."""
    lines = [json.loads(line) for line in process.err.splitlines() if line.startswith("{")]
    return [line for line in lines if re.fullmatch(event, line["event"])]
