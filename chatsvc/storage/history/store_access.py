"""Calls of the store by readers: in turn, and failing at once while it does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from chatsvc.storage.history.breaker import Breaker
from chatsvc.storage.history.read_queue import ReadQueue

T = TypeVar("T")


class StoreAccess:
    """Turns by user, and a circuit breaker.

    Args:
        breaker_seconds: how long reads fail at once after the store did not answer.
        reads_at_once: how many reads the store answers at the same time.
    """

    def __init__(self, breaker_seconds: float, reads_at_once: int) -> None:
        self._breaker = Breaker(breaker_seconds)
        self.queue = ReadQueue(reads_at_once)

    async def ask(self, reader: str, call: Callable[[], Awaitable[T]]) -> T:
        """The store, in turn; once it is unavailable, whoever waits is refused at once."""
        return await self.queue.run(reader, lambda: self._breaker.run(call))
