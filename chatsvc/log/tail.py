"""The log's recent end, in memory, listed by channel and by user.

Above the watermark it holds everything, so history never has a hole while the store
is behind or away. Below, it keeps what is recent up to a bound of bytes, so that a
client that was away briefly is served without the store.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

import structlog
from msgspec.structs import force_setattr

from chatsvc.core.page import NO_BYTE_BOUND, Bounds, body_bytes, take
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES, Backlog, audience_bytes

_logger = structlog.get_logger("chatsvc.log")
_by_id = attrgetter("id")
_COMPACT_AT: Final = 64

_GONE: Final = Record(
    id=0,
    kind="",
    channel="",
    audience=(),
    sender="",
    origin="",
    client_id=None,
    digest=b"",
    body=b"",
)


def _size(record: Record) -> int:
    return len(record.body)


Listener = Callable[[Sequence[Record]], None]


class _Lane:
    """Records ascending by id; taken off the front without moving the rest each time.

    ``cost`` are the bytes of memory that go with the list itself.
    """

    __slots__ = ("cost", "items", "start")

    def __init__(self, cost: int = LIST_BYTES) -> None:
        self.items: list[Record] = []
        self.start = 0
        self.cost = cost

    def __len__(self) -> int:
        return len(self.items) - self.start

    def drop_first(self) -> None:
        self.items[self.start] = _GONE  # or the memory would stay until the next compaction
        self.start += 1
        if self.start >= _COMPACT_AT and self.start * 2 >= len(self.items):
            del self.items[: self.start]
            self.start = 0

    def index_above(self, position: int) -> int:
        return bisect_right(self.items, position, self.start, key=_by_id)

    def page(self, bounds: Bounds) -> list[Record]:
        low = self.index_above(bounds.after)
        high = bisect_left(self.items, bounds.before, low, key=_by_id)
        if bounds.newest:
            page = self.items[max(low, high - bounds.limit) : high]
        else:
            page = self.items[low : min(high, low + bounds.limit)]
        if bounds.max_bytes == NO_BYTE_BOUND or body_bytes(page) <= bounds.max_bytes:
            return page
        if bounds.newest:
            return take(reversed(page), _size, bounds.max_bytes)[::-1]
        return take(page, _size, bounds.max_bytes)


class Tail:
    """Every record with ``floor < id <= head``; ``floor <= watermark <= head``.

    Args:
        recent_bytes: how much is kept of what the store holds already, in bytes of memory
            (:attr:`~chatsvc.core.record.Record.cost`, and the lists).
        watermark: where the store stands.
        floor: everything above it will be added by :meth:`extend`.
        complete_above: up to here the store may hold what the log does not; records at or
            below it are let go of as soon as they are stored, so that readers ask the store.
    """

    def __init__(
        self,
        *,
        recent_bytes: int,
        watermark: int = 0,
        floor: int = 0,
        complete_above: int = 0,
    ) -> None:
        self.watermark = watermark
        self.floor = floor
        self.head = max(watermark, floor)
        self.unsaved_bytes = 0
        self.unsaved_count = 0
        self.recent_bytes = 0
        self.backlog = Backlog()
        """What is unsaved, by sender; whoever appends adds what waits for its commit."""
        self._unsaved_costs: deque[int] = deque()
        self._recent_limit = recent_bytes
        self._complete_above = complete_above
        self._all = _Lane()
        self._channels: dict[str, _Lane] = {}
        self._users: dict[str, _Lane] = {}
        self._listeners: list[Listener] = []
        self._watchers: list[Callable[[int], None]] = []

    def extend(self, records: Sequence[Record]) -> None:
        """Add what the log accepted, ascending and above ``head``; then tell listeners."""
        if not records:
            self._evict()  # the log was read to its end and had nothing for us
            return
        users = self._users
        for record in records:
            self._all.items.append(record)
            cost = record.cost + self._list_by_channel(record)
            for user in record.audience:
                lane = users.get(user)
                if lane is None:
                    lane = users[user] = _Lane()
                    cost += LIST_BYTES
                lane.items.append(record)
            if record.id > self.watermark:
                self.unsaved_bytes += cost
                self.unsaved_count += 1
                self._unsaved_costs.append(cost)
                self.backlog.add(record.sender, cost)
            else:
                self.recent_bytes += cost
        self.head = records[-1].id
        if self.recent_bytes > self._recent_limit or self.floor < self._complete_above:
            self._evict()
        for listener in self._listeners:
            try:
                listener(records)
            except Exception:
                # The records are durable and in here: whoever sent them is told so, and
                # readers find them, whatever became of the delivery.
                _logger.exception("a listener of the log failed", records=len(records))

    def advance(self, watermark: int) -> None:
        """The store holds everything up to here; never goes back, nor beyond ``head``."""
        watermark = min(watermark, self.head)
        if watermark <= self.watermark:
            return
        lane = self._all
        for index in range(lane.index_above(self.watermark), lane.index_above(watermark)):
            cost = self._unsaved_costs.popleft()
            self.backlog.release(lane.items[index].sender, cost)
            self.unsaved_bytes -= cost
            self.unsaved_count -= 1
            self.recent_bytes += cost
        self.watermark = watermark
        self._evict()
        for watcher in self._watchers:
            try:
                watcher(watermark)
            except Exception:
                # Whoever stores goes on, and the other watchers are told.
                _logger.exception("watcher_failed", watermark=watermark)

    def watch(self, watcher: Callable[[int], None]) -> None:
        """Call ``watcher`` with the watermark each time it advances."""
        self._watchers.append(watcher)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every batch, in the step in which it becomes readable."""
        self._listeners.append(listener)

    def lists_channel(self, channel: str) -> bool:
        """Whether a record of this conversation is here."""
        return channel in self._channels

    def get(self, record_id: int) -> Record | None:
        """One record, if it is here."""
        lane = self._all
        index = bisect_left(lane.items, record_id, lane.start, key=_by_id)
        if index < len(lane.items) and lane.items[index].id == record_id:
            return lane.items[index]
        return None

    def page(self, bounds: Bounds) -> list[Record]:
        """Of everything, ascending."""
        return self._all.page(bounds)

    def batch(self, after: int, limit: int, most_bytes: int) -> list[Record]:
        """The oldest above ``after``: at most ``limit``, and no more than ``most_bytes`` of
        bodies unless the first alone is larger."""
        lane = self._all
        start = lane.index_above(after)
        size = 0
        for index in range(start, min(len(lane.items), start + limit)):
            size += len(lane.items[index].body)
            if size > most_bytes and index > start:
                return lane.items[start:index]
        return lane.items[start : start + limit]

    def channel_page(self, channel: str, bounds: Bounds) -> list[Record]:
        """Of one conversation, ascending."""
        lane = self._channels.get(channel)
        return lane.page(bounds) if lane is not None else []

    def user_page(self, user: str, bounds: Bounds) -> list[Record]:
        """Of those whose audience holds the user, ascending."""
        lane = self._users.get(user)
        return lane.page(bounds) if lane is not None else []

    def __len__(self) -> int:
        return len(self._all)

    def _evict(self) -> None:
        lane = self._all
        while len(lane):
            record = lane.items[lane.start]
            spare = self.recent_bytes > self._recent_limit or record.id <= self._complete_above
            if record.id > self.watermark or not spare:
                break
            lane.drop_first()
            self._drop_from(self._channels, record.channel)
            for user in record.audience:
                self._drop_from(self._users, user)
            self.recent_bytes -= record.cost
            self.floor = record.id
        if not len(lane) or lane.items[lane.start].id > self._complete_above:
            # The store has all there is up to there: readers ask it, positions begin there.
            self.floor = max(self.floor, self._complete_above)
            self.watermark = max(self.watermark, self.floor)
            self.head = max(self.head, self.floor)

    def _list_by_channel(self, record: Record) -> int:
        """Add to the conversation's list; the bytes that this takes beside the record's."""
        lane = self._channels.get(record.channel)
        if lane is None:
            names = audience_bytes(record.channel, record.audience)
            lane = self._channels[record.channel] = _Lane(LIST_BYTES + names)
            lane.items.append(record)
            return lane.cost
        before = lane.items[-1]
        lane.items.append(record)
        if record.audience is before.audience:
            return 0
        if record.audience == before.audience:
            # Names read from a request or from the file: the same set is kept once.
            force_setattr(record, "audience", before.audience)
            force_setattr(record, "channel", before.channel)
            return 0
        names = audience_bytes(record.channel, record.audience)
        lane.cost += names
        return names

    def _drop_from(self, lanes: dict[str, _Lane], name: str) -> None:
        # The record leaving is the oldest of all, so it is the first of its every lane.
        lane = lanes[name]
        lane.drop_first()
        if not len(lane):
            del lanes[name]
            self.recent_bytes -= lane.cost
