"""Deciding against state, and again where somebody else was faster.

A decision is a function without awaits: it reads state, and returns either its answer or drafts
with the guard that says what it read. It is made in the step that appends the drafts, and made
again for as long as the log calls them stale.

Decisions that change what they read (a key of their guard is touched by their own drafts) would
make one another stale without end. So those on one key take turns, in the order in which they
were asked for; each is made anew when its turn has come. All others, such as a send that is
guarded by its sender's membership, take no turns: the decision after the change is as good as
any. Turns only save work. What keeps a decision right is its guard.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple, TypeVar

from chatsvc.core.errors import Busy, Stale
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, LogAppender
from chatsvc.log.guards import Guard

T = TypeVar("T")

DECIDE_SECONDS: Final = 2.0
"""How long a decision is made again before its request is given up."""
MAX_WAITING: Final = 16_384
"""How many requests may wait for their turn."""
_JITTER_SECONDS: Final = 0.002
_DOUBLINGS: Final = 5


class Decision(NamedTuple):
    """What is to be appended, all or none, and what that goes by."""

    drafts: Sequence[Draft]
    guard: Guard

    @property
    def contended(self) -> list[str]:
        """The keys that it both reads and changes, in the order in which turns are taken."""
        touched = {key for draft in self.drafts for key in draft.touches}
        return sorted(touched.intersection(self.guard.keys))


async def jitter(attempt: int) -> None:
    """Wait for a random time that grows with the attempts, up to 64 ms."""
    await asyncio.sleep(random.uniform(0, _JITTER_SECONDS * 2 ** min(attempt, _DOUBLINGS)))


class _Turns:
    """A lock and how many hold it or wait for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Deciding:
    """Makes decisions until the log takes them.

    Args:
        log: where what is decided goes.
        clock: seconds that only go up.
        pause: waits before the decision is made again, after so many attempts (from 0).
        max_waiting: how many requests may wait for their turn.
    """

    def __init__(
        self,
        log: LogAppender,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[int], Awaitable[None]] = jitter,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._log = log
        self._clock = clock
        self._pause = pause
        self._max_waiting = max_waiting
        self._turns: dict[str, _Turns] = {}
        self.waiting = 0
        """How many requests wait for their turn."""

    async def decide_again(
        self, decide: Callable[[], Decision | T], *, seconds: float = DECIDE_SECONDS
    ) -> list[Appended] | T:
        """Decide, and append what was decided; again for as long as that is stale.

        Args:
            decide: returns drafts with their guard, or an answer, which is passed on. It may be
                called any number of times, and what it raises ends the request.
            seconds: how long it is called again, counted from when the request's turn has come.

        Returns:
            What the append came to, or the answer.

        Raises:
            Busy: the time is over, or too many wait for their turn.
            ChatError: what the log raises, but ``Stale``.
        """
        decision = decide()
        if not isinstance(decision, Decision):
            return decision
        async with AsyncExitStack() as turns:
            waited = False
            for key in decision.contended:
                waited |= await turns.enter_async_context(self._turn(key))
            until = self._clock() + seconds
            if waited:
                decision = decide()
            attempt = 0
            while isinstance(decision, Decision):
                try:
                    return await self._log.append_all(decision.drafts, decision.guard)
                except Stale:
                    if self._clock() >= until:
                        raise _busy() from None
                await self._pause(attempt)
                attempt += 1
                decision = decide()
            return decision

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[bool]:
        """Hold a key while no other does. The value: whether that had to be waited for."""
        turns = self._turns.get(key)
        if turns is None:
            turns = self._turns[key] = _Turns()
        waits = turns.users > 0
        if waits and self.waiting >= self._max_waiting:
            raise _busy()
        turns.users += 1
        try:
            if waits:
                await self._wait_for(turns.lock)
            else:
                await turns.lock.acquire()  # nobody holds it: this does not wait
            try:
                yield waits
            finally:
                turns.lock.release()
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[key]

    async def _wait_for(self, lock: asyncio.Lock) -> None:
        self.waiting += 1
        try:
            await lock.acquire()
        finally:
            self.waiting -= 1


def _busy() -> Busy:
    return Busy("what this request goes by is being changed by too many others: try it again")
