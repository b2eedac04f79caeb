"""A server that breaks one promise at a time: a proxy before one that keeps them all.

It speaks just enough HTTP/1.1 and WebSocket for that: a request a connection, bodies with
a length, and frames passed on one by one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from chatsvc.wire import frames
from chatsvc_conformance.framing import RawFrame, client_frame, read_frame

_HEAD_END = b"\r\n\r\n"
_HEAD_LIMIT = 256 * 1024


class Head:
    """A start line and header fields, in order."""

    def __init__(self, raw: bytes) -> None:
        start, *lines = raw.removesuffix(_HEAD_END).decode("latin-1").split("\r\n")
        self.start = start
        self.fields = [
            (name, value.strip()) for name, _, value in (x.partition(":") for x in lines)
        ]

    def get(self, name: str) -> str:
        return next((v for n, v in self.fields if n.lower() == name.lower()), "")

    def drop(self, name: str) -> None:
        self.fields = [(n, v) for n, v in self.fields if n.lower() != name.lower()]

    def set(self, name: str, value: str) -> None:
        self.drop(name)
        self.fields.append((name, value))

    def encode(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields)]
        return "\r\n".join(lines).encode("latin-1") + _HEAD_END


class Message(Head):
    """A request or a response."""

    def __init__(self, raw: bytes, body: bytes) -> None:
        super().__init__(raw)
        self.body = body

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start.split(" ")[1])

    @status.setter
    def status(self, value: int) -> None:
        self.start = f"HTTP/1.1 {value} x"

    @property
    def path(self) -> str:
        """Of a request, without its query."""
        return self.target.partition("?")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @target.setter
    def target(self, value: str) -> None:
        method, _, version = self.start.split(" ")
        self.start = f"{method} {value} {version}"

    def encode(self) -> bytes:
        if self.get("Content-Length") or self.body:
            self.set("Content-Length", str(len(self.body)))
        return super().encode() + self.body


Frame = dict[str, Any]


@dataclass(eq=False)
class Link:
    """A socket that goes through. ``memory`` is the fault's own."""

    target: str
    to_client: asyncio.StreamWriter
    memory: dict[str, Any] = field(default_factory=dict)

    def say(self, frame: Frame) -> None:
        self.to_client.write(frames.encode_text(json.dumps(frame).encode()))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One promise broken; what is not given is left as it is.

    ``request`` and ``response`` change what passes (of a handshake too); ``frame`` says what a
    frame of the server becomes; ``sent`` changes a frame of a client; ``code`` is the close
    code that is sent instead of the server's; ``raw`` the bytes of a server's frame.
    """

    request: Callable[[Message], None] | None = None
    response: Callable[[Proxy, Message, Message], None] | None = None
    frame: Callable[[Link, Frame], list[Frame]] | None = None
    sent: Callable[[Frame], None] | None = None
    code: Callable[[int], int] | None = None
    raw: Callable[[RawFrame], bytes] | None = None


class Proxy:
    """Listens; every connection goes to ``upstream`` through the fault."""

    def __init__(self, upstream: tuple[str, int], fault: Fault) -> None:
        self._upstream = upstream
        self._fault = fault
        self.links: set[Link] = set()
        self.memory: dict[str, Any] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, to its end."""
        up_reader, up_writer = await asyncio.open_connection(*self._upstream, limit=_HEAD_LIMIT)
        try:
            await self._exchange(reader, writer, up_reader, up_writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # either side has gone
        finally:
            up_writer.transport.abort()
            writer.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        request = await _read(reader)
        upgrade = request.get("Upgrade").lower() == "websocket"
        if self._fault.request is not None and request.start.count(" ") == 2:
            self._fault.request(request)
        if not upgrade and request.start.count(" ") == 2:
            request.set("Connection", "close")
        up_writer.write(request.encode())
        response = await _read(up_reader)
        if self._fault.response is not None:
            self._fault.response(self, request, response)
        if upgrade and response.status == 101:
            writer.write(response.encode())
            await self._relay(Link(request.target, writer), reader, up_reader, up_writer)
            return
        response.set("Connection", "close")
        writer.write(response.encode())
        await writer.drain()

    async def _relay(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self.links.add(link)
        upward = asyncio.ensure_future(self._upward(reader, up_writer))
        try:
            while True:
                self._downward(link, await read_frame(up_reader))
                await link.to_client.drain()
        finally:
            self.links.discard(link)
            upward.cancel()
            await asyncio.wait([upward])

    async def _upward(self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
        decoder = frames.FrameDecoder(1 << 24)
        while data := await reader.read(65_536):
            if self._fault.sent is None:
                up_writer.write(data)
                continue
            for event in decoder.feed(data):
                payload = event.payload
                if event.opcode == frames.TEXT:
                    frame = json.loads(payload)
                    self._fault.sent(frame)
                    payload = json.dumps(frame).encode()
                elif event.opcode == frames.CLOSE and event.code != 1005:
                    payload = event.code.to_bytes(2, "big") + payload
                up_writer.write(client_frame(event.opcode, payload))
        up_writer.write_eof()

    def _downward(self, link: Link, frame: RawFrame) -> None:
        fault = self._fault
        if fault.raw is not None:
            link.to_client.write(fault.raw(frame))
        elif frame.opcode == frames.TEXT and fault.frame is not None:
            for told in fault.frame(link, json.loads(frame.payload)):
                link.say(told)
        elif frame.opcode == frames.CLOSE and fault.code is not None and frame.payload:
            code = fault.code(int.from_bytes(frame.payload[:2], "big"))
            link.to_client.write(frames.encode_close(code))
        else:
            link.to_client.write(frames.encode(frame.opcode, frame.payload))


async def _read(reader: asyncio.StreamReader) -> Message:
    """A request or response; what follows the head of an upgrade is not its body."""
    raw = await reader.readuntil(_HEAD_END)
    length = Head(raw).get("Content-Length")
    return Message(raw, await reader.readexactly(int(length)) if length else b"")


@asynccontextmanager
async def faulty(url: str, fault: Fault) -> AsyncIterator[str]:
    """The URL of a proxy before ``url``."""
    host, _, port = url.removeprefix("http://").partition(":")
    proxy = Proxy((host, int(port)), fault)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_HEAD_LIMIT)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
