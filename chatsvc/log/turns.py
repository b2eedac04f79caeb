"""Turns by key: those who ask for one key have it one after another, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from chatsvc.core.errors import Busy

MAX_WAITING: Final = 16_384
"""How many requests may wait for their turn."""


class Turn:
    """A place in the queue of a key, to be used with ``async with``, soon and once.

    The value of ``async with`` is whether the turn had to be waited for.
    """

    __slots__ = ("_come", "_turns", "has_come", "key")

    def __init__(self, turns: Turns, key: str) -> None:
        self._turns = turns
        self._come: asyncio.Future[None] | None = None
        self.key = key
        self.has_come = False

    def begin(self) -> None:
        """Let it come."""
        self.has_come = True
        if self._come is not None and not self._come.done():
            self._come.set_result(None)

    async def __aenter__(self) -> bool:
        if self.has_come:
            return False
        self._come = asyncio.get_running_loop().create_future()
        try:
            await self._come
        except asyncio.CancelledError:
            self._turns.leave(self)
            raise
        return True

    async def __aexit__(self, *_error: object) -> None:
        self._turns.leave(self)


class Turns:
    """The queues of all keys.

    Args:
        max_waiting: how many may wait, over all of them.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._queues: dict[str, deque[Turn]] = {}
        self.waiting = 0
        """How many wait now."""

    def enter(self, key: str) -> Turn:
        """Take the last place in a key's queue.

        Raises:
            Busy: it would have to wait, and too many do.
        """
        queue = self._queues.get(key)
        if queue is not None and self.waiting >= self._max_waiting:
            raise busy()
        turn = Turn(self, key)
        if queue is None:
            self._queues[key] = deque([turn])
            turn.begin()
        else:
            queue.append(turn)
            self.waiting += 1
        return turn

    def is_last(self, turn: Turn) -> bool:
        """Whether nobody has asked for the key since."""
        queue = self._queues.get(turn.key)
        return queue is not None and queue[-1] is turn

    def leave(self, turn: Turn) -> None:
        """Give up a place, whether its turn has come or not."""
        queue = self._queues[turn.key]
        if not turn.has_come:
            queue.remove(turn)
            self.waiting -= 1
            return
        queue.popleft()
        if not queue:
            del self._queues[turn.key]
            return
        self.waiting -= 1
        queue[0].begin()

    def __len__(self) -> int:
        """Return for how many keys somebody has a turn."""
        return len(self._queues)


def busy() -> Busy:
    """Return the error of a request that was given up."""
    return Busy("what this request goes by is being changed by too many others: try it again")
