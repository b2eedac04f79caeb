"""What a conversation's connections wait for: frames made once, shared by them all."""

from __future__ import annotations

import enum
from typing import Final, Protocol

from chatsvc.core.record import Record


class Behind(enum.Enum):
    """What a connection waits for while the resume serves it."""

    BEHIND = "behind"


BEHIND: Final = Behind.BEHIND
"""In place of spans: the fan-out passes such a connection by."""


class Reader(Protocol):
    """Who a span is for."""

    def wants(self, sender: str, origin: str) -> bool:
        """Whether it is to have what this sender sent from there."""


class Run:
    """Frames of one conversation that some connection still waits for."""

    __slots__ = ("audience", "frames", "records", "senders", "waiting")

    def __init__(self, audience: tuple[str, ...]) -> None:
        self.audience = audience
        self.records: list[Record] = []
        self.frames: list[bytes] = []
        self.senders: set[str] = set()
        self.waiting = 0


class Span:
    """The part of a run from where a connection began to wait; shared by all that began
    there, and joined once for them all."""

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
        """The id that it begins with; what is below it was served before."""
        return self.run.records[self.start].id

    def joined(self, limit: int) -> tuple[bytes, int]:
        """Every frame up to now in one piece, and how many; none where that is more than
        ``limit`` bytes, which is the same for all that share the span."""
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

    def wanted(self, reader: Reader) -> list[tuple[int, bytes]]:
        """``(id, frame)`` of what this reader is to have."""
        run = self.run
        return [
            (record.id, frame)
            for record, frame in zip(
                run.records[self.start :], run.frames[self.start :], strict=True
            )
            if reader.wants(record.sender, record.origin)
        ]
