"""Looks after all sockets: heartbeats, stalled writers, and the closing at shutdown.

One sweeper for everybody: a timer for each socket would cost as much as the sockets.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from typing import Final

import structlog

from chatsvc.server.websocket.context import OpenSocket, SocketContext
from chatsvc.wire import close_codes

_TICK_SECONDS: Final = 0.25
_SLICE: Final = 200

_logger = structlog.get_logger("chatsvc.socket")


class SocketKeeper:
    """Started and stopped by the composition root."""

    def __init__(self, context: SocketContext) -> None:
        self._context = context
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="socket keeper")

    async def stop(self) -> None:
        """End the sweeper; sockets stay as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        interval = self._context.heartbeat_seconds
        tick = min(_TICK_SECONDS, interval / 4)
        due: deque[OpenSocket] = deque()
        share = 0
        next_round = loop.time() + interval
        while True:
            await asyncio.sleep(tick)
            now = loop.time()
            self._look_at_slow(now)
            if not due and now >= next_round:
                next_round = now + interval
                due.extend(self._context.sockets)
                share = math.ceil(len(due) * tick / interval)
            await self._beat(due, share)

    async def _beat(self, due: deque[OpenSocket], share: int) -> None:
        """Everybody once an interval, spread over its ticks."""
        for count in range(min(share, len(due))):
            socket = due.popleft()
            try:
                socket.beat()
            except Exception:
                # One socket's trouble must not stop everybody's heartbeat.
                _logger.exception("a heartbeat failed", connection=socket.connection_id)
                socket.cut("error")
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)

    def _look_at_slow(self, now: float) -> None:
        seconds = self._context.stall_seconds
        for socket in list(self._context.slow):
            if socket.stalled(now, seconds):
                _logger.warning(
                    "a socket reads nothing", user=socket.user, connection=socket.connection_id
                )
                socket.cut("stalled")

    async def close_all(self, seconds: float) -> None:
        """Send everybody away with 1012, each told to come back at another moment, and
        wait for them at most ``seconds``; who is left is cut off."""
        context = self._context
        spread_ms = min(10_000, 500 + len(context.sockets))
        for count, socket in enumerate(list(context.sockets)):
            retry = close_codes.reason_with_retry("restart", random.randint(100, spread_ms))
            socket.close(close_codes.RESTART, retry)
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(seconds):
                while context.sockets:
                    context.emptied.clear()
                    await context.emptied.wait()
        except TimeoutError:
            _logger.warning("sockets did not close in time", sockets=len(context.sockets))
        for socket in list(context.sockets):
            socket.cut("shutdown")
