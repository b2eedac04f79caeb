"""Events for the consumer: a bounded queue in id order, each record once.

Two positions are kept. ``position`` is how far records were *received*: a reconnect
of this client resumes there, because what is queued here need not be sent again.
``taken`` is how far the consumer took them: an application stores it, to resume after a
crash. Neither passes a record that was neither delivered nor announced by a ``Gap`` or ``Lost``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from chatsvc.client.events import (
    CaughtUp,
    ChangeReceived,
    Connected,
    CursorMoved,
    Disconnected,
    Event,
    Gap,
    Lost,
    MessageReceived,
    Received,
    Reset,
    StoredUpTo,
)
from chatsvc.core.ids import parse_id
from chatsvc.wire.cursor import Cursor

STATUS_RESERVE: Final = 64
"""Events that are not records may exceed the capacity by this many, then are left out: a
consumer that does not read must not keep the client from reconnecting."""
Status = Connected | Disconnected | CaughtUp | CursorMoved | Reset | StoredUpTo
REMEMBERED: Final = 10_000
"""Ids of messages that are known to have been delivered, where the position goes back:
as many as a server replays (``RESUME_MAX``)."""

_WITH_CURSOR: Final = (
    MessageReceived,
    ChangeReceived,
    Connected,
    CaughtUp,
    CursorMoved,
    Reset,
)
_logger = logging.getLogger("chatsvc.client")


class Inbox:
    """A queue between one producer and one consumer.

    Args:
        capacity: records that may wait; the producer asks :attr:`full` first.
        start: where to resume, if anywhere.
    """

    def __init__(self, capacity: int, start: Cursor | None = None) -> None:
        self._capacity = capacity
        self._queue: deque[Event] = deque()
        self._epoch = start.epoch if start else None
        self._position = start.id if start else 0
        self.taken = str(start) if start else None
        self._recent: deque[int] = deque()
        self._recent_set: set[int] = set()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._ended = False
        self._failure: BaseException | None = None

    # The position

    @property
    def epoch(self) -> str | None:
        """The epoch of the log that ``position`` belongs to; ``None`` before a ``hello``."""
        return self._epoch

    @property
    def position(self) -> int:
        """The id up to which everything for this user was received."""
        return self._position

    @property
    def cursor(self) -> str | None:
        """``position`` as a cursor, to resume with."""
        return str(Cursor(self._epoch, self._position)) if self._epoch is not None else None

    def advance(self, position: int) -> None:
        """Record that nothing for this user is missing up to ``position``. Never goes back."""
        self._position = max(self._position, position)

    def move_to(self, epoch: str, position: int) -> None:
        """Set the position, backwards too: of another epoch of the log."""
        self._epoch = epoch
        self._position = position

    # The producer's side

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether a record should wait for :meth:`wait_changed`."""
        return len(self._queue) >= self._capacity

    def put_record(self, record: Received) -> bool:
        """Queue a record unless it was received before.

        Returns:
            Whether it was new.
        """
        record_id = parse_id(record.id)
        if record_id <= self._position or record_id in self._recent_set:
            return False
        self._position = record_id
        self._recent.append(record_id)
        self._recent_set.add(record_id)
        if len(self._recent) > REMEMBERED:
            self._recent_set.discard(self._recent.popleft())
        self._put(record)
        return True

    def put_status(self, event: Status) -> None:
        """Queue an event that is not a record; see :data:`STATUS_RESERVE`."""
        if isinstance(event, CursorMoved | StoredUpTo) and self._queue:
            if type(self._queue[-1]) is type(event):
                self._queue[-1] = event
                return
            if self.full:
                return  # the next one, or the next record, says more
        if len(self._queue) >= self._capacity + STATUS_RESERVE:
            _logger.warning("the consumer does not read: %s is not reported", type(event).__name__)
            return
        self._put(event)

    def put_gap(self, from_id: str, to_id: str) -> None:
        """Queue a gap, whatever the capacity: it announces records. Adjacent ones become one.

        A gap without anything in it is not queued.
        """
        if from_id >= to_id:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Gap) and last.to_id >= from_id:
            self._queue[-1] = Gap(min(last.from_id, from_id), max(last.to_id, to_id))
        else:
            self._put(Gap(from_id, to_id))

    def put_lost(self, from_id: str, to_id: str) -> None:
        """Queue a range with lost records, whatever the capacity; nothing if it is empty."""
        if from_id < to_id:
            self._put(Lost(from_id, to_id))

    def end(self, failure: BaseException | None = None) -> None:
        """Let the consumer have what is queued, then ``failure`` or the end. Idempotent."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._arrived.set()

    async def wait_changed(self, timeout: float | None = None) -> None:
        """Return when the consumer took an event, :meth:`wake` was called, or the time is up."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """End the wait of :meth:`wait_changed`."""
        self._changed.set()

    # The consumer's side

    async def get(self) -> Event:
        """Return the next event.

        Raises:
            StopAsyncIteration: ended.
            BaseException: ended by this failure.
        """
        while not self._queue:
            if self._ended:
                raise self._failure if self._failure is not None else StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._queue.popleft()
        if isinstance(event, _WITH_CURSOR):
            self.taken = event.cursor
        self._changed.set()
        return event

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        self._arrived.set()
