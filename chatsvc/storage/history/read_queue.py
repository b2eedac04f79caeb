"""Reads of history take turns, so that one user's do not make the others' wait.

A store answers a few reads at once. Of these one user has a part; the others of that user wait,
and whoever waits is served user by user, not read by read. Waiting has an end: beyond a number
of reads, or after a time, the answer is :class:`~chatsvc.core.errors.HistoryBusy`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from chatsvc.core.errors import HistoryBusy

T = TypeVar("T")

WAITING: Final = 16_384
"""More than there are sockets by default: each may resume at the same time."""
WAITING_PER_USER: Final = 32
WAIT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0


class ReadQueue:
    """Bound the reads of the store, in all and for each user.

    Args:
        at_once: how many reads the store answers at the same time.
        per_user: how many of them one user has; a third by default, at least one.
        waiting: how many reads may wait.
        waiting_per_user: how many of one user may wait.
        seconds: how long a read may wait.
    """

    def __init__(
        self,
        at_once: int,
        *,
        per_user: int | None = None,
        waiting: int = WAITING,
        waiting_per_user: int = WAITING_PER_USER,
        seconds: float = WAIT_SECONDS,
    ) -> None:
        self._at_once = at_once
        self._per_user = per_user or max(1, at_once // 3)
        self._max_waiting = waiting
        self._max_waiting_per_user = waiting_per_user
        self._seconds = seconds
        self._running: dict[str, int] = {}
        self._active = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0
        """How many reads wait now."""
        self.refused = 0
        """Reads that were answered with ``history_busy``."""

    async def run(self, user: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, once it is this user's turn.

        A call whose caller goes away is not cut off: it holds its turn until it ends, as the
        thread that runs it does.

        Raises:
            HistoryBusy: too many wait, or it waited too long.
        """
        if self._active < self._at_once and self._running.get(user, 0) < self._per_user:
            self._begin(user)
        else:
            await self._turn(user)
        future = asyncio.ensure_future(call())
        future.add_done_callback(lambda done: self._ended(user, done))
        return await asyncio.shield(future)

    async def _turn(self, user: str) -> None:
        queue = self._queues.setdefault(user, deque())
        if len(queue) >= self._max_waiting_per_user or self.waiting >= self._max_waiting:
            if not queue:
                del self._queues[user]
            raise self._busy("too many reads of history are waiting")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                self._end(user)  # it came in the same moment
            else:
                self._leave(user, turn)
            if isinstance(exc, TimeoutError):
                raise self._busy("history did not get to this read in time") from None
            raise

    def _begin(self, user: str) -> None:
        self._active += 1
        self._running[user] = self._running.get(user, 0) + 1

    def _ended(self, user: str, done: asyncio.Future[T]) -> None:
        if not done.cancelled():
            done.exception()  # its caller may have gone: then nobody else looks at it
        self._end(user)

    def _end(self, user: str) -> None:
        self._active -= 1
        left = self._running[user] - 1
        if left:
            self._running[user] = left
        else:
            del self._running[user]
        self._wake()

    def _wake(self) -> None:
        while self._active < self._at_once:
            # Those who have their part already are at most as many as there are turns.
            user = next((u for u in self._queues if self._running.get(u, 0) < self._per_user), None)
            if user is None:
                return
            queue = self._queues[user]
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(user)
            else:
                del self._queues[user]
            if not turn.done():
                self._begin(user)
                turn.set_result(None)

    def _leave(self, user: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(user)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._queues[user]

    def _busy(self, why: str) -> HistoryBusy:
        self.refused += 1
        return HistoryBusy(why, retry_after=_RETRY_SECONDS)
