"""When to come back after a close, and when not to. No I/O, no clock of its own.

Full jitter: the wait is drawn evenly between nothing and a ceiling that doubles from
1 to 30 seconds, so that clients who lost their server together do not return together.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.integration.support.old_client.wire.close_codes import Advice, advise

STEADY_SECONDS: Final = 5.0
"""A connection that lasted this long was a good one: the ceiling starts over."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The ceiling of the wait after so many failures in a row, in seconds."""

    first: float = 1.0
    most: float = 30.0

    def ceiling(self, failures: int) -> float:
        """``first``, doubled with every failure, up to ``most``."""
        return min(self.most, self.first * 2.0 ** min(failures, 32))


class Decision(NamedTuple):
    """``wait`` is in seconds; ``None``: do not come back, for the reason in ``why``."""

    wait: float | None
    fresh_token: bool = False
    why: str = ""


class ReconnectPolicy:
    """What to do after each close.

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
        """The server said ``hello``."""
        self._attempts = 0

    def closed(self, code: int, reason: str = "", *, lasted: float | None = None) -> Decision:
        """A connection ended, or could not be made.

        Args:
            code: the close code; 1006 where there was none.
            lasted: seconds since its ``hello``; ``None`` if there was no ``hello``.
        """
        if lasted is None:
            self._attempts += 1
        elif lasted >= STEADY_SECONDS:
            self._failures = 0
            self._remedies = 0
        advice = advise(code, reason)
        if advice.advice is Advice.NEVER:
            return Decision(None, why="the server asks not to come back")
        if advice.advice is Advice.REMEDY and not self._can_refresh:
            return Decision(None, why="the token was refused, and there is no other")
        if self._max_attempts is not None and self._attempts >= self._max_attempts:
            return Decision(None, why=f"no connection in {self._attempts} attempts")
        return self._wait(advice.advice, advice.retry_after)

    def _wait(self, advice: Advice, retry_after: float | None) -> Decision:
        fresh_token = advice is Advice.REMEDY
        if fresh_token:
            self._remedies += 1
            if self._remedies == 1 and retry_after is None:
                return Decision(0.0, fresh_token=True)
        ceiling = self._backoff.ceiling(self._failures)
        self._failures += 1
        if retry_after is not None:
            # Not before it; a little after, lest everybody be told the same moment.
            return Decision(retry_after * (1 + self._draw() / 10), fresh_token)
        return Decision(self._draw() * ceiling, fresh_token)
