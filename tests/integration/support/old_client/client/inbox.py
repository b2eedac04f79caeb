"""Events on their way to the consumer: bounded, in id order, each message once.

Two positions are kept. ``position`` is how far messages were *received*: a reconnect
of this client resumes there, for what is queued here need not come again. ``taken`` is
how far the consumer took them: what an application stores, to resume after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from tests.integration.support.old_client.client.events import (
    CaughtUp,
    Connected,
    CursorMoved,
    Disconnected,
    Event,
    Gap,
    MessageReceived,
    Reset,
    StoredUpTo,
)
from tests.integration.support.old_client.core.ids import parse_id
from tests.integration.support.old_client.wire.cursor import Cursor

STATUS_RESERVE: Final = 64
"""Events that are not messages may pass the bound by this many, then are left out: a
consumer that stands still must not keep the client from reconnecting."""
Status = Connected | Disconnected | CaughtUp | CursorMoved | Reset | StoredUpTo
_REMEMBERED: Final = 4096

_logger = logging.getLogger("chatsvc.client")


class Inbox:
    """A queue between one producer and one consumer.

    Args:
        capacity: messages that may wait; the producer asks :attr:`full` first.
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
        """The life of the log that ``position`` belongs to; ``None`` before the first hello."""
        return self._epoch

    @property
    def position(self) -> int:
        """Everything for this user up to here was received."""
        return self._position

    @property
    def cursor(self) -> str | None:
        """``position`` as a cursor, to resume with."""
        return str(Cursor(self._epoch, self._position)) if self._epoch is not None else None

    def advance(self, position: int) -> None:
        """Nothing for this user is missing up to here. Never goes back."""
        self._position = max(self._position, position)

    def move_to(self, epoch: str, position: int) -> None:
        """Stand elsewhere: in another life of the log, or before a gap that is announced."""
        self._epoch = epoch
        self._position = position

    # The producer's end

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether a message should wait for :meth:`wait_changed`."""
        return len(self._queue) >= self._capacity

    def put_message(self, message: MessageReceived) -> bool:
        """Queue it, unless it was received before; whether it was new."""
        message_id = parse_id(message.id)
        if message_id <= self._position or message_id in self._recent_set:
            return False
        self._position = message_id
        self._recent.append(message_id)
        self._recent_set.add(message_id)
        if len(self._recent) > _REMEMBERED:
            self._recent_set.discard(self._recent.popleft())
        self._put(message)
        return True

    def put_status(self, event: Status) -> None:
        """Queue what befell the connection; see :data:`STATUS_RESERVE`."""
        if isinstance(event, CursorMoved | StoredUpTo) and self._queue:
            if type(self._queue[-1]) is type(event):
                self._queue[-1] = event
                return
            if self.full:
                return  # the next one, or the next message, says more
        if len(self._queue) >= self._capacity + STATUS_RESERVE:
            _logger.warning("the consumer stands still: %s is not reported", type(event).__name__)
            return
        self._put(event)

    def put_gap(self, from_id: str, to_id: str) -> None:
        """Queue the news of a gap, always: it stands for messages. Neighbours become one."""
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Gap) and last.to_id >= from_id:
            self._queue[-1] = Gap(min(last.from_id, from_id), max(last.to_id, to_id))
        else:
            self._put(Gap(from_id, to_id))

    def end(self, failure: BaseException | None = None) -> None:
        """No more will come: the consumer gets what is queued, then ``failure`` or the end."""
        if not self._ended:
            self._ended = True
            self._failure = failure
            self._arrived.set()

    async def wait_changed(self, timeout: float | None = None) -> None:
        """Return when the consumer took something, :meth:`wake` was called, or the time is up."""
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Let a waiting producer look again."""
        self._changed.set()

    # The consumer's end

    async def get(self) -> Event:
        """The next event.

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
        if isinstance(event, MessageReceived | Connected | CaughtUp | CursorMoved):
            self.taken = event.cursor
        self._changed.set()
        return event

    def _put(self, event: Event) -> None:
        self._queue.append(event)
        self._arrived.set()
