"""Pending frames of a conversation, encoded once and shared by its connections."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from chatsvc.core.record import Record


class Behind(enum.Enum):
    """The type of :data:`BEHIND`."""

    BEHIND = "behind"


BEHIND: Final = Behind.BEHIND
"""Stands for the spans of a connection that the resume serves: the fan-out skips it."""


class Run:
    """Consecutive frames of one conversation that a connection still waits for.

    ``waiting`` is the number of connections that wait for a span of the run.
    """

    __slots__ = ("audience", "frames", "records", "senders", "waiting")

    def __init__(self, audience: tuple[str, ...]) -> None:
        self.audience = audience
        self.records: list[Record] = []
        self.frames: list[bytes] = []
        self.senders: set[str] = set()
        self.waiting = 0


class Span:
    """The part of a run from ``start`` on.

    Shared by all connections that wait from the same record on; the frames are joined once
    for all of them.
    """

    __slots__ = ("_count", "_end", "_joined", "_size", "run", "start")

    def __init__(self, run: Run, start: int) -> None:
        self.run = run
        self.start = start
        self._end = start
        self._count = 0
        self._size = 0
        self._joined = b""

    @property
    def first(self) -> int:
        """The id of the first record; lower ids were served before."""
        return self.run.records[self.start].id

    def joined(self, limit: int) -> tuple[bytes, int]:
        """Return all frames up to now as one byte string, and their number.

        Args:
            limit: in bytes; the same for all connections that share the span.

        Returns:
            An empty string and 0 if the frames have more than ``limit`` bytes.
        """
        if self._end != len(self.run.frames):
            self._join(limit)
        return self._joined, self._count

    def _join(self, limit: int) -> None:
        frames = self.run.frames
        self._size += sum(map(len, frames[self._end :]))
        self._end = len(frames)
        if self._size <= limit:
            self._count = self._end - self.start
            self._joined = b"".join(frames[self.start :])
        else:
            self._count, self._joined = 0, b""

    def wanted(self, wants: Callable[[Record], bool]) -> list[tuple[int, bytes]]:
        """Return ``(id, frame)`` of each record that a reader wants."""
        run = self.run
        return [
            (record.id, frame)
            for record, frame in zip(
                run.records[self.start :], run.frames[self.start :], strict=True
            )
            if wants(record)
        ]
