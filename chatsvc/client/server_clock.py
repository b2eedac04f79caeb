"""The server's time as far as the client knows it, and client ids minted by it.

A server tells a repeated send from a new one by the time in its UUIDv7, in the order of
one user's ids. The devices of a user, whose own clocks differ, mint by one clock so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from chatsvc.client.uuid7 import fresh_uuid7

_DATE_MS: Final = 1000
"""The header ``Date`` has whole seconds."""
_TOLERANCE_MS: Final = 1500
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def wall_ms() -> int:
    """The clock of this machine, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


def elapsed_ms() -> int:
    """Milliseconds that only go up, those of a suspended machine too where it counts them."""
    if _BOOT_CLOCK is None:
        return time.monotonic_ns() // 1_000_000
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


class ServerClock:
    """Unix milliseconds by the server's clock; by this machine's until the first answer.

    Steps of this machine's clock do not change it once the server has answered.

    Args:
        wall: this machine's time, in Unix milliseconds.
        elapsed: milliseconds that only go up.
    """

    def __init__(
        self, *, wall: Callable[[], int] = wall_ms, elapsed: Callable[[], int] = elapsed_ms
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._ahead: int | None = None  # of the server's time over the elapsed
        self._minted_ms = 0

    def now_ms(self) -> int:
        """The server's time, as far as it is known."""
        return self._wall() if self._ahead is None else self._elapsed() + self._ahead

    def observe_time(self, text: str) -> None:
        """Take ``server_time`` of a ``hello``: RFC 3339. Anything else is passed over."""
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                self._observe(round(moment.timestamp() * 1000))
        except (ValueError, OverflowError):
            return

    def observe_date(self, text: str | None) -> None:
        """Take the header ``Date`` of an answer (RFC 9110 §5.6.7), if there is one.

        It has no fractions: it counts only where it differs from what is known.
        """
        if text is None:
            return
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return
        middle = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1000 + _DATE_MS // 2
        if self._ahead is None or abs(middle - self.now_ms()) > _TOLERANCE_MS:
            self._observe(middle)

    def mint(self) -> str:
        """A fresh UUIDv7, minted later than the one before where the clock went back."""
        minted_ms = self.now_ms()
        if minted_ms < self._minted_ms:
            minted_ms = self._minted_ms + 1
        self._minted_ms = minted_ms
        return fresh_uuid7(minted_ms)

    def _observe(self, server_ms: int) -> None:
        self._ahead = server_ms - self._elapsed()
