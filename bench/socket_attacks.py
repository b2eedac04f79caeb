"""WebSocket attacks of one client, and the service that other clients get meanwhile.

The attacks are raw sockets: whatever a client library would not send or would read, the streams
of asyncio included, which read ahead. So the raw client of the test suites is not used. Used
by ``python -m bench hostile-sockets`` for figures and by ``tests/hostile`` for bounds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any, Self

from bench.processes import Failed
from bench.sockets import frame_size, handshake, text_frame
from testkit.blocks import Block, Tasks, percentile

PING = b"\x89\x80\0\0\0\0"
EMPTY_TEXT = b"\x81\x80\0\0\0\0"
JUNK_AUTH = text_frame(b'{"type":"auth","token":"%b"}' % (b"x" * 100))
LARGE = "\x01" * 15_990
"""The content of the largest message: 96 KB as JSON."""

_SECONDS = 60.0
_HEAD_END = b"\r\n\r\n"
_CLOSE = 0x88


def auth(token: str) -> bytes:
    """Return a frame that renews the token of the socket."""
    return text_frame(json.dumps({"type": "auth", "token": token}).encode())


def send(participants: list[str], content: str) -> bytes:
    """Return a frame that sends a message."""
    message = {"type": "send", "participants": participants, "content": content}
    return text_frame(json.dumps(message, separators=(",", ":")).encode())


class Socket(Block):
    """A WebSocket after its handshake that is written to and read explicitly.

    ``code`` is the received close code, 0 before that, and 1006 if the connection ended
    without one.
    """

    def __init__(self, taken: socket.socket) -> None:
        self._socket = taken
        self._buffer = b""
        self.code = 0

    @classmethod
    async def open(
        cls, port: int, token: str, *, query: str = "", receive_buffer: int | None = None
    ) -> Self:
        """Open a socket.

        Raises:
            Failed: the upgrade was refused; the text begins with the status.
        """
        loop = asyncio.get_running_loop()
        taken = socket.socket()
        if receive_buffer is not None:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        taken.setblocking(False)
        one = cls(taken)
        try:
            async with asyncio.timeout(_SECONDS):
                await loop.sock_connect(taken, ("127.0.0.1", port))
                opening = handshake(f"/ws{query}", {"Authorization": f"Bearer {token}"})
                await loop.sock_sendall(taken, opening)
                while _HEAD_END not in one._buffer:
                    await one._more()
        except BaseException:
            taken.close()
            raise
        head, _, one._buffer = one._buffer.partition(_HEAD_END)
        if not head.startswith(b"HTTP/1.1 101"):
            taken.close()
            raise Failed(f"{head[9:12].decode()} {head!r}")
        return one

    async def end(self, error: BaseException | None) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Abort the connection without a close frame."""
        self._socket.close()

    async def write(self, data: bytes, seconds: float = _SECONDS) -> bool:
        """Return whether the server accepted all data within the time limit."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except (OSError, TimeoutError):
            return False
        return True

    async def frame(self) -> dict[str, Any] | None:
        """Return the next text frame, or ``None`` once closed. Control frames are skipped."""
        try:
            while True:
                size = frame_size(self._buffer)
                if size and len(self._buffer) >= size:
                    frame, self._buffer = self._buffer[:size], self._buffer[size:]
                    if frame[0] == _CLOSE:
                        self.code = int.from_bytes(frame[2:4], "big")
                        return None
                    if frame[0] == 0x81:
                        found: dict[str, Any] = json.loads(frame[frame.index(b"{") :])
                        return found
                else:
                    await self._more()
        except OSError:
            self.code = 1006
            return None

    async def closed(self) -> int:
        """Read to the end; return the close code."""
        async with asyncio.timeout(_SECONDS):
            while await self.frame() is not None:
                pass
        return self.code

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 18)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data


async def flood(port: int, token: str, frame: bytes, size: int) -> int:
    """Send one frame repeatedly, ``size`` bytes at once.

    Returns:
        The close code; 1000 if there was none and every frame was answered.
    """
    async with await Socket.open(port, token) as one:
        end = text_frame(b'{"type":"ping","ref":"the end of the flood"}')
        reading = asyncio.create_task(_read_to_end(one))
        await one.write(frame * (size // len(frame)) + end)
        return await reading


async def _read_to_end(one: Socket) -> int:
    async with asyncio.timeout(_SECONDS):
        while (frame := await one.frame()) is not None:
            if frame.get("ref") == "the end of the flood":
                return 1000
    return one.code


class Talkers(Tasks):
    """Honest pairs: one sends a message over its socket, the other waits for it, and so on.

    ``seconds`` are the times from send to delivery; ``lost`` counts connections that the
    server ended.
    """

    def __init__(self, port: int, tokens: list[tuple[str, str, str, str]]) -> None:
        super().__init__()
        self._port = port
        self._tokens = tokens
        self.seconds: list[float] = []
        self.lost = 0

    async def begin(self) -> None:
        for row in self._tokens:
            name, token, other, other_token = row
            sender = await Socket.open(self._port, token)
            reader = await Socket.open(self._port, other_token)
            self.start(self._talk(sender, reader, [name, other]))
            self.start(_drain(sender))

    def percentile(self, share: float) -> float:
        """Return the percentile ``share`` of the delivery times, in seconds."""
        return percentile(self.seconds, share)

    async def _talk(self, sender: Socket, reader: Socket, names: list[str]) -> None:
        message = send(names, "Hello!")
        async with sender, reader:
            while True:
                began = time.monotonic()
                await sender.write(message)
                while (frame := await reader.frame()) is not None:
                    if frame["type"] == "message":
                        break
                else:
                    self.lost += 1
                    return
                self.seconds.append(time.monotonic() - began)
                await asyncio.sleep(0.01)


async def _drain(one: Socket) -> None:
    while await one.frame() is not None:
        pass


class Reader(Tasks):
    """Reads its socket as fast as possible, and reconnects with its cursor when it is cut.

    ``ids`` of the messages it has; ``cuts`` how often the server ended the connection.
    """

    def __init__(self, port: int, token: str) -> None:
        super().__init__()
        self._port = port
        self._token = token
        self.ids: list[str] = []
        self.cuts = 0

    async def begin(self) -> None:
        one = await Socket.open(self._port, self._token)
        hello = await one.frame()
        if hello is None:
            raise Failed(f"closed with {one.code}")
        self.start(self._read(one, hello["epoch"], hello["cursor"]))

    async def _read(self, one: Socket, epoch: str, cursor: str) -> None:
        while True:
            async with one:
                while (frame := await one.frame()) is not None:
                    if frame["type"] == "message":
                        self.ids.append(frame["id"])
                        cursor = f"{epoch}.{frame['id']}"
            self.cuts += 1
            one = await Socket.open(self._port, self._token, query=f"?since={cursor}")


async def burst(port: int, name: str, token: str, victim: str, count: int) -> list[str]:
    """Send a full window of the largest messages to one user; return their ids."""
    message = send([name, victim], LARGE)
    ids: list[str] = []
    async with await Socket.open(port, token) as one:
        writing = asyncio.create_task(one.write(message * count))
        while len(ids) < count and (frame := await one.frame()) is not None:
            if frame["type"] == "ack":
                ids.append(frame["id"])
        await writing
    return ids


async def crowd(port: int, token: str, count: int) -> tuple[list[Socket], dict[str, int]]:
    """Try to open ``count`` sockets of one user; return those, and refusals by status."""
    opened: list[Socket] = []
    refused: dict[str, int] = {}
    for _ in range(count):
        try:
            opened.append(await Socket.open(port, token))
        except Failed as exc:
            status = str(exc)[:3]
            refused[status] = refused.get(status, 0) + 1
    return opened, refused
