"""Sends on their way to the server: kept until acknowledged, in order. No I/O.

An entry is *waiting* until it is written to a connection, then *in flight* until its
ack. A connection that ends puts all that was in flight back in front of what waits:
the server knows by ``client_id`` which of them it has already.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

from tests.integration.support.old_client.client.errors import QueueFull

DEFAULT_CAPACITY: Final = 1000
DEFAULT_WINDOW: Final = 64
"""The server stops reading a socket that has this many sends unacknowledged."""

T = TypeVar("T")


class Entry(Generic[T]):
    """One send. ``frame`` is written as it is on every try; ``waiter`` is the caller's."""

    __slots__ = ("frame", "number", "ref", "refusals", "waiter")

    def __init__(self, number: int, ref: str, frame: bytes, waiter: T) -> None:
        self.number = number
        self.ref = ref
        self.frame = frame
        self.waiter = waiter
        self.refusals = 0


class Outbox(Generic[T]):
    """At most ``capacity`` unacknowledged sends, ``window`` of them in flight.

    Args:
        capacity: beyond it :meth:`add` raises.
        window: beyond it :meth:`take` yields nothing.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY, window: int = DEFAULT_WINDOW) -> None:
        self._capacity = capacity
        self._window = window
        self._next = 0
        self._entries: dict[str, Entry[T]] = {}
        self._waiting: list[int] = []
        self._in_flight: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_flight(self) -> int:
        """How many were written and are not answered yet."""
        return len(self._in_flight)

    def reserve(self) -> str:
        """The ``ref`` of the next entry.

        Raises:
            QueueFull: as many sends wait as may wait.
        """
        if len(self._entries) >= self._capacity:
            raise QueueFull(f"{self._capacity} sends wait for the server already")
        self._next += 1
        return str(self._next)

    def add(self, ref: str, frame: bytes, waiter: T) -> Entry[T]:
        """Put a send at the end; ``ref`` is of :meth:`reserve`."""
        entry = Entry(int(ref), ref, frame, waiter)
        self._entries[ref] = entry
        heapq.heappush(self._waiting, entry.number)
        return entry

    def take(self) -> Entry[T] | None:
        """The next to write, now in flight; ``None`` if none waits or the window is full."""
        if len(self._in_flight) >= self._window:
            return None
        while self._waiting:
            ref = str(heapq.heappop(self._waiting))
            entry = self._entries.get(ref)
            if entry is not None:  # it may have been discarded while it waited
                self._in_flight.add(ref)
                return entry
        return None

    def finish(self, ref: str | None) -> Entry[T] | None:
        """Remove an entry that was answered for good; ``None`` if there is no such."""
        if ref is None:
            return None
        self._in_flight.discard(ref)
        return self._entries.pop(ref, None)

    def put_back(self, ref: str | None) -> Entry[T] | None:
        """Let an entry that was in flight wait again, at its old place."""
        entry = self._entries.get(ref) if ref is not None else None
        if entry is not None and entry.ref in self._in_flight:
            entry.refusals += 1
            self._in_flight.discard(entry.ref)
            heapq.heappush(self._waiting, entry.number)
        return entry

    def connection_lost(self) -> None:
        """All that was in flight waits again, in its old order."""
        for ref in self._in_flight:
            heapq.heappush(self._waiting, int(ref))
        self._in_flight.clear()

    def largest_in_flight(self) -> Entry[T] | None:
        """The longest frame among those in flight: the culprit where a frame was too big."""
        return max(
            (self._entries[ref] for ref in self._in_flight if ref in self._entries),
            key=lambda entry: len(entry.frame),
            default=None,
        )

    def clear(self) -> list[Entry[T]]:
        """Remove everything, in order."""
        entries = list(self._entries.values())
        self._entries.clear()
        self._waiting.clear()
        self._in_flight.clear()
        return entries
