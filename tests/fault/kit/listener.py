"""A raw client of the WebSocket protocol, on aiohttp alone, that records what it is given.

It does what a careful application would: it comes back with the cursor of the last
message it handled, and fetches over HTTP what was announced as a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
from typing import Any

import aiohttp
import msgspec
from aiohttp import WSMsgType

from tests.fault.kit.clients import LOST, Http, Outgoing, Refused, Undecided, brief, decode
from tests.fault.kit.recorder import Recorder

SILENCE_SECONDS = 10.0
"""Without a frame or a ping for so long, a listener takes its connection for dead."""
FETCH_SECONDS = 300.0
"""How long it tries to fetch the range of a gap."""


class Listener:
    """One user's socket, over all its connections; it can send as well.

    While ``reading`` is cleared it reads nothing, and what is sent to it piles up.

    Args:
        drop_after: mean seconds until it drops its own connection; ``None``: never.
    """

    def __init__(
        self,
        http: Http,
        recorder: Recorder,
        user: str,
        name: str,
        *,
        url: str | None = None,
        echo: bool = False,
        drop_after: float | None = None,
        seed: int = 0,
    ) -> None:
        self.http = http
        self.recorder = recorder
        self.user = user
        self.name = name
        self.device = name.replace(":", "-")
        self.url = (url or http.url) + "/ws"
        self.echo = echo
        self.drop_after = drop_after
        self.random = random.Random(seed)
        self.cursor: str | None = None
        self.position = "0" * 16
        self.connections = 0
        self.received = 0
        self.connected = asyncio.Event()
        self.moved = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()
        self._epoch = ""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._refs = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._fetches: set[asyncio.Task[None]] = set()

    @property
    def fetching(self) -> bool:
        """Whether the range of a gap is still being fetched."""
        return bool(self._fetches)

    async def run(self) -> None:
        """Connect and listen, again and again, until cancelled."""
        failures = 0
        try:
            while True:
                try:
                    await self._live()
                    failures = 0
                except LOST:
                    failures += 1
                    await asyncio.sleep(self.random.random() * min(0.05 * 2**failures, 1.0))
        finally:
            for task in self._fetches:
                task.cancel()

    async def send(self, message: Outgoing) -> tuple[str, bool]:
        """Like :meth:`Http.send`, over the socket.

        Raises:
            Refused, Undecided
        """
        try:
            async with asyncio.timeout(self.http.timeout.total):
                await self.connected.wait()
        except TimeoutError as exc:
            raise Refused("no connection", again=True) from exc
        ref = str(next(self._refs))
        answered = asyncio.get_running_loop().create_future()
        self._waiting[ref] = answered
        frame = {"type": "send", "ref": ref, **message.body}
        try:
            if self._socket is None:
                raise ConnectionError("the connection is gone")
            await self._socket.send_str(msgspec.json.encode(frame).decode())
            async with asyncio.timeout(self.http.timeout.total):
                answer = await answered
        except LOST as exc:
            raise Undecided(repr(exc)) from exc
        finally:
            self._waiting.pop(ref, None)
        if answer["type"] == "ack":
            return answer["id"], answer.get("duplicate", False)
        if "retry_after" in answer:
            raise Undecided(answer["code"], told=True)
        raise Refused(answer["code"], again=False)

    async def _live(self) -> None:
        """One connection, from the upgrade to its end."""
        query = {"device": self.device}
        since = self.cursor
        if since is not None:
            query["since"] = since
        if self.echo:
            query["echo"] = "true"
        async with self.http.session.ws_connect(
            self.url,
            params=query,
            headers=self.http.headers(self.user),
            timeout=aiohttp.ClientWSTimeout(ws_receive=SILENCE_SECONDS, ws_close=1.0),
            max_msg_size=0,
        ) as connection:
            self.connections += 1
            dropping = None
            if self.drop_after is not None:
                dropping = asyncio.create_task(self._drop(connection))
            try:
                await self._listen(connection, since)
            finally:
                self.connected.clear()
                self._socket = None
                if dropping is not None:
                    dropping.cancel()
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(ConnectionError("the connection ended"))

    async def _listen(self, connection: aiohttp.ClientWebSocketResponse, since: str | None) -> None:
        while True:
            await self.reading.wait()
            message = await connection.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                break
            if message.type is WSMsgType.ERROR:
                raise ConnectionError(repr(message.data))
            if message.type is not WSMsgType.TEXT:
                continue
            frame = decode(message.data)
            if frame["type"] == "hello":
                self._hello(frame, since)
                self._socket = connection
                self.connected.set()
            else:
                self._frame(frame)
        if connection.close_code != 1000:
            raise ConnectionError(f"closed with {connection.close_code}")

    def _hello(self, frame: dict[str, Any], since: str | None) -> None:
        self._epoch = frame["epoch"]
        position = frame["cursor"].split(".")[1]
        self.recorder.saw(
            self.name,
            "connect",
            user=self.user,
            listener=self.name,
            connection=frame["connection_id"],
            device=self.device,
            echo=self.echo,
            since=since,
            recovered=frame.get("recovered"),
            position=position,
        )
        if since is None:
            self._at(frame["cursor"])

    def _frame(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "message":
            self.received += 1
            self.recorder.saw(self.name, "receive", listener=self.name, **brief(frame))
            self._at(f"{self._epoch}.{frame['id']}")
        elif kind in ("caught_up", "cursor"):
            position = frame["cursor"].split(".")[1]
            self.recorder.saw(self.name, "position", listener=self.name, position=position)
            self._at(frame["cursor"])
        elif kind == "gap":
            bounds = {"from": frame["from"], "to": frame["to"]}
            self.recorder.saw(self.name, "gap", listener=self.name, **bounds)
            task = asyncio.create_task(self._fetch(frame["from"], frame["to"]))
            self._fetches.add(task)
            task.add_done_callback(self._fetches.discard)
            self._at(f"{self._epoch}.{frame['to']}")
        elif kind in ("ack", "error") and frame.get("ref") in self._waiting:
            future = self._waiting[frame["ref"]]
            if not future.done():
                future.set_result(frame)
        elif kind == "reset":
            self._epoch = frame["epoch"]

    def _at(self, cursor: str) -> None:
        self.cursor = cursor
        self.position = max(self.position, cursor.split(".")[1])
        self.moved.set()

    async def _fetch(self, low: str, high: str) -> None:
        try:
            messages = await self.http.everything(
                self.user, None, after=low, up_to=high, wait=FETCH_SECONDS
            )
        except TimeoutError:
            return  # not fetched: the checker will say that this is open
        others = [m for m in messages if self.echo or m["sender"] != self.user]
        bounds = {"from": low, "to": high}
        self.recorder.saw(self.name, "fetch", listener=self.name, messages=others, **bounds)
        self.moved.set()

    async def _drop(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        """Leave at random: half the time with a close frame, half without a word."""
        await asyncio.sleep(self.random.expovariate(1 / (self.drop_after or 1)))
        if self.random.random() < 0.5:
            await connection.close()
            return
        raw = connection.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
