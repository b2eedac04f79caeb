"""How old a position of the log is, by the time that has passed, never by the wall clock.

A wall clock may be wrong for a while, and what is deleted or forgotten for its sake is gone
for good. So the head of the log is noted from time to time together with the seconds that
the service has lived through, and "older than a day" means: it was below a head that was
noted at least a day of such seconds ago.

Seconds count while the service runs and, within one boot of the machine, while it is
stopped (``CLOCK_BOOTTIME``, told apart by the kernel's boot id). Over a boot nothing can
tell how long the machine was off: that time does not count, and things are kept longer.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_THIN_AT: Final = 2048
_PRECISION: Final = 128
"""A note is dropped where its neighbours are closer than its age divided by this."""


class Instant(NamedTuple):
    """A moment in one boot of the machine.

    ``boot`` names the boot, empty where that is unknown; ``seconds`` only go up within one.
    """

    boot: str
    seconds: float


def now() -> Instant:
    """The present moment, comparable with those of other processes of the same boot."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        return Instant("", time.monotonic())
    return Instant(boot, time.clock_gettime(time.CLOCK_BOOTTIME))


class _Saved(msgspec.Struct, array_like=True):
    """The persisted form, version 1. ``notes`` are pairs of seconds lived and head."""

    v: int
    lived: float
    boot: str
    seconds: float
    notes: list[tuple[float, int]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Saved).decode


class ElapsedHeads:
    """Heads of the log, each with the seconds lived when it was noted.

    Args:
        saved: what :meth:`save` returned in an earlier run, or ``None``. Unreadable or of a
            newer version counts as ``None``: then everything is as young as this process.
        clock: the present moment.
    """

    def __init__(
        self, saved: bytes | str | None = None, *, clock: Callable[[], Instant] = now
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._lived_before = 0.0
        self._seconds: list[float] = []
        self._heads: list[int] = []
        found = _read(saved)
        if found is None:
            return
        self._lived_before = found.lived
        if found.boot and found.boot == self._started.boot:
            self._lived_before += max(0.0, self._started.seconds - found.seconds)
        for seconds, head in found.notes:
            self._seconds.append(seconds)
            self._heads.append(head)

    @property
    def lived(self) -> float:
        """Seconds that count, since the log was made. Never goes down."""
        return self._lived_before + max(0.0, self._clock().seconds - self._started.seconds)

    def note(self, head: int) -> None:
        """The head is here now. A head below the one noted last is passed over."""
        if self._heads and head <= self._heads[-1]:
            return
        self._seconds.append(self.lived)
        self._heads.append(head)
        if len(self._heads) >= _THIN_AT:
            self._thin()

    def older_than(self, seconds: float) -> int:
        """The highest position known to be at least ``seconds`` old, 0 if there is none.

        May be lower than the truth by a hundredth of the age, never higher.
        """
        index = bisect_right(self._seconds, self.lived - seconds)
        return self._heads[index - 1] if index else 0

    def save(self) -> bytes:
        """The persisted form: a few kilobytes of JSON."""
        instant = self._clock()
        notes = list(zip(self._seconds, self._heads, strict=True))
        return _encode(_Saved(1, self.lived, instant.boot, instant.seconds, notes))

    def _thin(self) -> None:
        lived = self.lived
        seconds, heads = [self._seconds[0]], [self._heads[0]]
        for index in range(1, len(self._seconds) - 1):
            age = lived - self._seconds[index]
            if self._seconds[index + 1] - seconds[-1] > age / _PRECISION:
                seconds.append(self._seconds[index])
                heads.append(self._heads[index])
        self._seconds = [*seconds, self._seconds[-1]]
        self._heads = [*heads, self._heads[-1]]


def _read(saved: bytes | str | None) -> _Saved | None:
    if not saved:
        return None
    try:
        found = _decode(saved)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return found if found.v == 1 else None
