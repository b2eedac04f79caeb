"""Reads that fail at once while a database is known to be away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chatsvc.core.errors import StoreUnavailable

T = TypeVar("T")


class Breaker:
    """After a failure, calls fail at once for a while, and then one is tried.

    Finding out that a database is away takes a driver seconds; without this, every
    reader would wait them.

    Args:
        seconds: how long.
        clock: seconds that only go up.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._seconds = seconds
        self._clock = clock
        self._fails_until: float | None = None

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result.

        Raises:
            StoreUnavailable: the call's own, or at once.
        """
        if self._fails_until is not None:
            now = self._now()
            if now < self._fails_until:
                wait = self._fails_until - now
                raise StoreUnavailable("the store does not answer", retry_after=wait)
            self._fails_until = now + self._seconds  # this one tries; the others need not
        try:
            result = await call()
        except StoreUnavailable:
            self._fails_until = self._now() + self._seconds
            raise
        self._fails_until = None
        return result

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
