"""Send heartbeats to all sockets, cut stalled ones, and close all at shutdown.

One task serves all sockets: a timer for each socket would cost as much as the sockets.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from typing import Final

import structlog

from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import close_codes

_TICK_SECONDS: Final = 0.25
_SLICE: Final = 200

_logger = structlog.get_logger("chatsvc.socket")


class SocketMonitor:
    """Monitors all sockets; started and stopped by the composition root."""

    def __init__(self, parts: SocketParts) -> None:
        self._options = parts.options
        self._registry = parts.registry
        self._heartbeat = parts.heartbeat
        self._closing = parts.closing
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the periodic task."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="socket monitor")

    async def stop(self) -> None:
        """Stop the periodic task; sockets stay open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        interval = self._options.heartbeat_seconds
        tick = min(_TICK_SECONDS, interval / 4)
        due: deque[SocketState] = deque()
        share = 0
        next_round = loop.time() + interval
        while True:
            await asyncio.sleep(tick)
            now = loop.time()
            self._cut_stalled(now)
            if not due and now >= next_round:
                next_round = now + interval
                due.extend(self._registry.sockets)
                share = math.ceil(len(due) * tick / interval)
            await self._send_heartbeats(due, share)

    async def _send_heartbeats(self, due: deque[SocketState], share: int) -> None:
        """Send up to ``share`` of the heartbeats that are due."""
        for count in range(min(share, len(due))):
            socket = due.popleft()
            try:
                self._heartbeat.beat(socket)
            except Exception:
                # An error of one socket must not stop the heartbeats of the others.
                _logger.exception("heartbeat_failed", connection=socket.connection_id)
                socket.cut("error")
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def _cut_stalled(self, now: float) -> None:
        seconds = self._options.stall_seconds
        for socket in list(self._registry.slow):
            if socket.stalled(now, seconds):
                _logger.warning("socket_stalled", user=socket.user, connection=socket.connection_id)
                socket.cut("stalled")

    async def close_all(self, seconds: float) -> None:
        """Close every socket with 1012 and a random reconnect delay, and wait until they are gone.

        Sockets that are still open after ``seconds`` are cut.
        """
        registry = self._registry
        spread_ms = min(10_000, 500 + len(registry.sockets))
        for count, socket in enumerate(list(registry.sockets)):
            retry = close_codes.reason_with_retry("restart", random.randint(100, spread_ms))
            self._closing.close(socket, close_codes.RESTART, retry)
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(seconds):
                while registry.sockets:
                    registry.emptied.clear()
                    await registry.emptied.wait()
        except TimeoutError:
            _logger.warning("socket_close_timed_out", sockets=len(registry.sockets))
        for socket in list(registry.sockets):
            socket.cut("shutdown")
