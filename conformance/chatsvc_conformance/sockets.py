"""A WebSocket of the protocol, read in the background; every frame is kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType

from chatsvc_conformance.expect import Failed, expect, shown

Frame = dict[str, Any]
ABNORMAL: Final = 1006


class Socket:
    """One connection, after its handshake.

    ``frames`` are all frames after ``hello``, in the order of their arrival. Every wait ends
    after ``timeout`` seconds with :class:`Failed`.
    """

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, timeout: float) -> None:
        self.ws = ws
        self.hello: Frame = {}
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._timeout = timeout
        self._changed = asyncio.Event()
        self._error: str | None = None
        self._refs = 0
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @property
    def epoch(self) -> str:
        """The epoch of the log that this connection is in."""
        return str(self.hello["epoch"])

    async def await_hello(self) -> None:
        """Take the first frame, which is ``hello``.

        Raises:
            Failed: it is another, or none.
        """
        await self._until(lambda: self.frames, "hello")
        self.hello = self.frames.pop(0)
        expect(
            self.hello.get("type") == "hello", f"the first frame must be hello: {shown(self.hello)}"
        )

    async def send(self, frame: Frame) -> None:
        """One text message."""
        await self.send_text(json.dumps(frame, ensure_ascii=False))

    async def send_text(self, text: str) -> None:
        """One text message as it is.

        Raises:
            Failed: the connection is gone.
        """
        try:
            await self.ws.send_str(text)
        except (ConnectionError, aiohttp.ClientError, RuntimeError):
            raise Failed(f"the socket must stay open: {self._closing()}") from None

    async def ask(self, frame: Frame) -> Frame:
        """Send with a ``ref``, and what comes back with it."""
        self._refs += 1
        ref = f"ask-{self._refs}"
        await self.send({**frame, "ref": ref})
        return await self.answer(ref)

    async def answer(self, ref: str) -> Frame:
        """The frame that carries this ``ref``."""
        return await self.first(lambda frame: frame.get("ref") == ref, f"answer to ref {ref!r}")

    async def of_type(self, kind: str) -> Frame:
        """The first frame of this type."""
        return await self.first(lambda frame: frame.get("type") == kind, f"{kind} frame")

    async def first(self, fits: Callable[[Frame], object], what: str) -> Frame:
        """The first frame, of all that came or will, that fits.

        Raises:
            Failed: none came in time, or the connection closed.
        """

        def found() -> Frame | None:
            return next((frame for frame in self.frames if fits(frame)), None)

        await self._until(found, what)
        frame = found()
        assert frame is not None
        return frame

    async def count(self, kind: str, count: int) -> None:
        """Return once there were so many frames of this type."""
        await self._until(
            lambda: sum(frame.get("type") == kind for frame in self.frames) >= count,
            f"{count} {kind} frames",
        )

    async def messages(self, channel: str, count: int) -> list[Frame]:
        """The messages of a conversation so far, once there are ``count``."""
        await self._until(lambda: len(self.got(channel)) >= count, f"{count} messages")
        return self.got(channel)

    def got(self, channel: str) -> list[Frame]:
        """The messages of a conversation that came so far, in the order in which they came."""
        return [f for f in self.frames if f.get("type") == "message" and f["channel"] == channel]

    async def alive(self) -> None:
        """Require that the server still answers ``ping``.

        Raises:
            Failed: it does not.
        """
        pong = await self.ask({"type": "ping"})
        expect(pong.get("type") == "pong", f"ping must be answered by pong: {shown(pong)}")

    async def closed(self) -> int:
        """The code it is closed with; 1006 where no close frame came.

        Raises:
            Failed: it stays open.
        """
        await self._until(lambda: self.close_code is not None, "close", open_needed=False)
        assert self.close_code is not None
        return self.close_code

    async def close(self) -> None:
        """Close the connection, and end the reader."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self._timeout):
                await self.ws.close()
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        while self.close_code is None:
            message = await self.ws.receive()
            if message.type is WSMsgType.TEXT:
                self._take(message.data)
            elif message.type is WSMsgType.CLOSE:
                self.close_code, self.close_reason = message.data, message.extra or ""
            elif message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
                self.close_code = self.ws.close_code or ABNORMAL
            else:
                self._error = f"a message must be text: {message.type.name} came"
            self._changed.set()

    def _take(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            frame = None
        if isinstance(frame, dict) and isinstance(frame.get("type"), str):
            self.frames.append(frame)
        else:
            self._error = f"a frame must be a JSON object with a type: {text[:80]!r}"

    async def _until(
        self, condition: Callable[[], object], what: str, *, open_needed: bool = True
    ) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                while not condition():
                    if self._error is not None:
                        raise Failed(self._error)
                    if open_needed and self.close_code is not None:
                        raise Failed(f"no {what}: {self._closing()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            came = shown([frame.get("type") for frame in self.frames[-10:]])
            raise Failed(
                f"no {what} within {self._timeout:g} s; the last to come: {came}"
            ) from None

    def _closing(self) -> str:
        return f"closed with {self.close_code} {self.close_reason}".rstrip()
