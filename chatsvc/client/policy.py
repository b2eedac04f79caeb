"""When to reconnect after a close, and when not to. No I/O, no clock of its own.

Full jitter: the wait is drawn evenly between nothing and a ceiling that doubles from
1 to 30 seconds, so that clients who lost their server together do not return together.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from chatsvc.wire.close_codes import Advice, advise

STEADY_SECONDS: Final = 5.0
"""A connection that lasted this long was a good one: the ceiling starts over."""
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds. A server that asks for more is asked again after that."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The ceiling of the wait after so many failures in a row, in seconds.

    Args:
        first: after the first failure.
        maximum: however many there were.
    """

    first: float = 1.0
    maximum: float = 30.0

    def ceiling(self, failures: int) -> float:
        """Return ``first``, doubled with every failure, up to ``maximum``."""
        return min(self.maximum, self.first * 2.0 ** min(failures, 32))

    def wait(self, failures: int, draw: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait, jittered.

        Args:
            failures: how many there were before this one, in a row.
            draw: in [0, 1).
            retry_after: seconds that the server asks for: never less than that, and a
                little more, so that not every client returns in the same moment.
        """
        wait = draw * self.ceiling(failures)
        if retry_after is None:
            return wait
        return max(wait, min(retry_after, MAX_RETRY_AFTER) * (1 + draw / 10))


class Decision(NamedTuple):
    """``wait`` is in seconds; ``None``: do not come back, for the reason in ``why``."""

    wait: float | None
    fresh_token: bool = False
    why: str = ""


class ReconnectPolicy:
    """Decides what to do after each close.

    Args:
        max_attempts: how many attempts in a row may end without a ``hello``; ``None``
            is for ever.
        can_refresh: whether a fresh token can be had.
        backoff: the ceilings of the waits.
        draw: yields numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        max_attempts: int | None = None,
        can_refresh: bool = False,
        backoff: Backoff | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._max_attempts = max_attempts
        self._can_refresh = can_refresh
        self._backoff = backoff or Backoff()
        self._draw = draw
        self._failures = 0
        self._attempts = 0
        self._remedies = 0

    def opened(self) -> None:
        """Note that the server sent ``hello``."""
        self._attempts = 0

    def closed(
        self,
        code: int,
        reason: str = "",
        *,
        lasted: float | None = None,
        certain: bool = True,
        final: bool = False,
    ) -> Decision:
        """Decide what to do after a connection that ended, or could not be made.

        Args:
            code: the close code; 1006 where there was none.
            reason: the close frame's reason.
            lasted: seconds since its ``hello``; ``None`` if there was no ``hello``.
            certain: whether the server itself refused the token; ``False`` where a proxy
                may have, which is no reason to give up.
            final: whether the server itself refused, and will refuse the same again.
        """
        if final:
            return Decision(None, why="the server refuses this client")
        if lasted is None:
            self._attempts += 1
        elif lasted >= STEADY_SECONDS:
            self._failures = 0
            self._remedies = 0
        advice = advise(code, reason)
        if advice.advice is Advice.NEVER:
            return Decision(None, why="the server asks not to come back")
        remedy = advice.advice is Advice.REMEDY
        if remedy and not self._can_refresh and certain:
            return Decision(None, why="the token was refused, and there is no other")
        if self._max_attempts is not None and self._attempts >= self._max_attempts:
            return Decision(None, why=f"no connection in {self._attempts} attempts")
        return self._wait(advice.retry_after, fresh_token=remedy and self._can_refresh)

    def _wait(self, retry_after: float | None, *, fresh_token: bool) -> Decision:
        if fresh_token:
            self._remedies += 1
            if self._remedies == 1 and retry_after is None:
                return Decision(0.0, fresh_token=True)
        wait = self._backoff.wait(self._failures, self._draw(), retry_after)
        self._failures += 1
        return Decision(wait, fresh_token)
