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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, NamedTuple, TypeVar

from chatsvc.core.errors import Stale
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended, LogAppender
from chatsvc.log.guards import Guard
from chatsvc.log.in_order import InOrder
from chatsvc.log.turns import MAX_WAITING, Turns, busy

T = TypeVar("T")

DECIDE_SECONDS: Final = 2.0
"""How long a decision is made again before its request is given up."""
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
        self.turns = Turns(max_waiting)
        self._in_order = InOrder(log, clock)

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
        contended = decision.contended if isinstance(decision, Decision) else ()
        if not contended:
            return await self.append_again(decision, decide, seconds)
        async with AsyncExitStack() as turns:
            waited = False
            for key in contended:
                waited |= await turns.enter_async_context(self.turns.enter(key))
            return await self.append_again(decide() if waited else decision, decide, seconds)

    def decide_in_order(
        self, decide: Callable[[], Decision], *, seconds: float = DECIDE_SECONDS
    ) -> asyncio.Future[Appended]:
        """Decide at once, and append the one draft that was decided; again while that is stale.

        For decisions on keys that their own drafts do not touch, such as sends: they take no
        turns. Those with a guard on the same keys are appended in the order in which they were
        asked for: while one is decided again, those that follow it wait.

        Args:
            decide: returns one draft with its guard. What it raises the first time is raised at
                once, later through the future.
            seconds: how long it is called again.

        The future raises:
            Busy: the time is over.
            ChatError: what the log raises, but ``Stale``.
        """
        return self._in_order.decide(decide, seconds)

    async def append_again(
        self,
        decision: Decision | T,
        decide: Callable[[], Decision | T],
        seconds: float = DECIDE_SECONDS,
    ) -> list[Appended] | T:
        """Append what was decided, and what is decided again where it is stale; without turns.

        The arguments, results and errors are those of :meth:`decide_again`.
        """
        until = self._clock() + seconds
        attempt = 0
        while isinstance(decision, Decision):
            try:
                return await self._log.append_all(decision.drafts, decision.guard)
            except Stale:
                if self._clock() >= until:
                    raise busy() from None
            await self._pause(attempt)
            attempt += 1
            decision = decide()
        return decision
