"""What a conversation's connections wait for: frames made once, shared by them all."""

from __future__ import annotations

from typing import Protocol

from chatsvc.core.record import Record


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

    __slots__ = ("_end", "_joined", "run", "start")

    def __init__(self, run: Run, start: int) -> None:
        self.run = run
        self.start = start
        self._end = start
        self._joined = b""

    def joined(self) -> tuple[bytes, int]:
        """Every frame up to now in one piece, and how many."""
        frames = self.run.frames
        if self._end != len(frames):
            self._end = len(frames)
            self._joined = b"".join(frames[self.start :])
        return self._joined, self._end - self.start

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
