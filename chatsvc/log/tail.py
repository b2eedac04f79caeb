"""The log's recent end, in memory, by conversation and by user.

Which records of a group or a room are for a user, the reader says: by the user's intervals.

Above the watermark it holds everything, so history never has a hole while the store
is behind or away. Below, it keeps what is recent up to a bound of bytes, so that a
client that was away briefly is served without the store. Beside the records it keeps the
positions that tell readers when they need the store, and how far it can be relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog
from msgspec.structs import force_setattr

from chatsvc.core.audience import is_large, names_readers
from chatsvc.core.membership import Interval, is_member_channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES, Backlog, audience_bytes
from chatsvc.log.record_list import Part, RecordList, bounded, by_id
from chatsvc.log.user_lists import UserLists

_logger = structlog.get_logger("chatsvc.log")


def overlap(ranges: Iterable[tuple[int, int]], after: int, before: int) -> bool:
    """Whether any of the ranges ``(after, up_to)`` has an id with ``after < id < before``."""
    return any(max(low, after) < min(high, before - 1) for low, high in ranges)


Listener = Callable[[Sequence[Record]], None]


class Tail:
    """Every record with ``floor < id <= head``; ``floor <= watermark <= head``.

    Args:
        recent_bytes: how much is kept of what some store holds already, in bytes of memory
            (:attr:`~chatsvc.core.record.Record.cost`, and the lists).
        watermark: what is above it was never stored: the backlog.
        floor: everything above it will be added by :meth:`extend`.
        stored: the store of now holds everything up to here. Below ``watermark`` while a
            store that was put back, or is another one, is being filled up again.
        base: at or below it the store may hold what the log does not.
        hole: ``(after, up_to)`` of ids that neither holds any more.
        head: the highest id that was given to anything.
        confirmed: whether the log is attached to its store as it is now: as long as not, what
            the store answers is not called complete.
    """

    def __init__(
        self,
        *,
        recent_bytes: int,
        watermark: int = 0,
        floor: int = 0,
        stored: int | None = None,
        base: int = 0,
        hole: tuple[int, int] | None = None,
        head: int = 0,
        confirmed: bool = True,
    ) -> None:
        self.watermark = watermark
        self.floor = floor
        self.stored = watermark if stored is None else stored
        self.base = base
        self.hole = hole
        self.confirmed = confirmed
        self.head = max(watermark, head)
        self.unsaved_bytes = 0
        self.unsaved_count = 0
        self.recent_bytes = 0
        self.backlog = Backlog()
        """What is unsaved, by sender; whoever appends adds what waits for its commit."""
        self._unsaved_costs: list[int] = []
        self._recent_limit = recent_bytes
        self._all = RecordList()
        self._channels: dict[str, RecordList] = {}
        self._users = UserLists()
        self._listeners: list[Listener] = []
        self._watchers: list[Callable[[int], None]] = []

    @property
    def complete_above(self) -> int:
        """Above it everything that there is, is here: readers need no store."""
        return max(self.floor, min(self.base, self.head))

    @property
    def refilling(self) -> bool:
        """Whether the store lacks what one before it had."""
        return self.stored < self.watermark

    @property
    def relied_on(self) -> int:
        """Up to here the store can be relied on to hold everything, now."""
        return self.stored if self.confirmed else 0

    def lacking(self) -> tuple[tuple[int, int], ...]:
        """Ranges ``(after, up_to)`` of what may be neither here nor in the store, as yet."""
        return ((self.relied_on, self.floor),) if self.relied_on < self.floor else ()

    def missing(self) -> tuple[tuple[int, int], ...]:
        """The same, and what is lost for good."""
        return self.lacking() if self.hole is None else (*self.lacking(), self.hole)

    def extend(self, records: Sequence[Record], counted: Sequence[int] | None = None) -> None:
        """Add what the log accepted, ascending and above what is here; then tell listeners.

        Args:
            counted: what each counts for in the backlog already, if it does. Then all of them
                are above the watermark.
        """
        if not records:
            return
        channels, users = self._channels, self._users
        for index, record in enumerate(records):
            self._all.items.append(record)
            cost = record.cost
            channel, audience = channels.get(record.channel), record.audience
            if audience and channel is not None and channel.items[-1].audience is audience:
                channel.items.append(record)  # the usual case, without a call
                if not channel.readers:
                    cost += users.add(record)
            else:
                cost += self._list(record, channel)
            if record.id > self.watermark:
                self.unsaved_bytes += cost
                self.unsaved_count += 1
                self._unsaved_costs.append(cost)
                added = cost if counted is None else cost - counted[index]
                if added:
                    self.backlog.add(record.sender, added)
            else:
                self.recent_bytes += cost
        self.head = max(self.head, records[-1].id)  # it may have been raised above a base
        if self.recent_bytes > self._recent_limit:
            self._evict()
        for listener in self._listeners:
            try:
                listener(records)
            except Exception:
                # The records are durable and in here: whoever sent them is told so, and
                # readers find them, whatever became of the delivery.
                _logger.exception("listener_failed", records=len(records))

    def advance(self, watermark: int) -> None:
        """The store holds everything up to here; never goes back, nor beyond ``head``."""
        watermark = min(watermark, self.head)
        self.stored = max(self.stored, watermark)
        if watermark <= self.watermark:
            return
        record_list = self._all
        start = record_list.index_above(self.watermark)
        stored = record_list.items[start : record_list.index_above(watermark)]
        costs = self._unsaved_costs[: len(stored)]
        del self._unsaved_costs[: len(stored)]
        self.backlog.release_records(stored, costs)
        self.unsaved_count -= len(stored)
        self.unsaved_bytes -= sum(costs)
        self.recent_bytes += sum(costs)
        self.watermark = watermark
        self._evict()
        for watcher in self._watchers:
            try:
                watcher(watermark)
            except Exception:
                # Whoever stores goes on, and the other watchers are told.
                _logger.exception("watcher_failed", watermark=watermark)

    def set_store_positions(
        self, *, stored: int, base: int, hole: tuple[int, int] | None, confirmed: bool = True
    ) -> None:
        """The store is not what it was: what may be believed of it from now on.

        ``stored`` may go back. Positions that are handed out begin above ``base``.
        """
        self.stored = min(stored, self.watermark)
        self.base = base
        self.hole = hole
        self.confirmed = confirmed
        self.head = max(self.head, base)

    def drop(self, record_id: int) -> None:
        """Take one record out, wherever it is: it has got another place in the log."""
        record = self.get(record_id)
        if record is None:
            return
        unsaved = self._all.index_above(self.watermark)
        index = self._all.remove(record_id)
        freed = self._unlist(record)
        if record_id <= self.watermark:
            self.recent_bytes -= record.cost + freed
            return
        cost = self._unsaved_costs.pop(index - unsaved)
        self.backlog.release(record.sender, cost)
        self.unsaved_bytes -= cost
        self.unsaved_count -= 1
        self._count_left(index, unsaved, cost - record.cost - freed)

    def _count_left(self, index: int, unsaved: int, left: int) -> None:
        """Count what a dropped record had been counted for and is still there: lists it began.

        With the next record, or with the one before it; with what is stored where there is none.
        Less than nothing: a list ends that a stored record began.
        """
        costs = self._unsaved_costs
        if left <= 0 or not costs:
            self.recent_bytes += left
            return
        place = min(index - unsaved, len(costs) - 1)
        costs[place] += left
        self.unsaved_bytes += left
        self.backlog.add(self._all.items[unsaved + place].sender, left)

    def watch(self, watcher: Callable[[int], None]) -> None:
        """Call ``watcher`` with the watermark each time it advances."""
        self._watchers.append(watcher)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every batch, in the step in which it becomes readable."""
        self._listeners.append(listener)

    def lists_channel(self, channel: str) -> bool:
        """Whether a record of this conversation is here; one that names readers does not count."""
        return channel in self._channels

    def get(self, record_id: int) -> Record | None:
        """One record, if it is here."""
        return self._all.get(record_id)

    def page(self, bounds: Bounds) -> list[Record]:
        """Of everything, ascending."""
        return self._all.page(bounds)

    def batch(self, after: int, limit: int, max_bytes: int) -> list[Record]:
        """The oldest records above ``after``.

        At most ``limit``, and no more than ``max_bytes`` of bodies unless the first alone is
        larger.
        """
        record_list = self._all
        start = record_list.index_above(after)
        size = 0
        for index in range(start, min(len(record_list.items), start + limit)):
            size += len(record_list.items[index].body)
            if size > max_bytes and index > start:
                return record_list.items[start:index]
        return record_list.items[start : start + limit]

    def channel_page(self, channel: str, bounds: Bounds) -> list[Record]:
        """Of one conversation, ascending, without those that name readers."""
        record_list = self._channels.get(channel)
        return record_list.page(bounds) if record_list is not None else []

    def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Record]:
        """As :meth:`channel_page`, with those that name this reader."""
        page = self.channel_page(channel, bounds)
        if not is_member_channel(channel):
            return page
        within = bounds
        if page and bounds.reached_by(page):
            # Of the others none beyond its end has a place.
            if bounds.newest:
                within = bounds._replace(after=page[0].id)
            else:
                within = bounds._replace(before=page[-1].id)
        named = self._users.named_in(channel, reader, within)
        return bounded(sorted(page + named, key=by_id), bounds) if named else page

    def user_page(
        self, user: str, bounds: Bounds, intervals: Sequence[Interval] = ()
    ) -> list[Record]:
        """Of those whose audience holds the user, and of those in the intervals, ascending.

        Args:
            intervals: of groups and rooms; no two of one channel share an id.
        """
        return self._users.page(user, bounds, self._parts(bounds, intervals) if intervals else ())

    def __len__(self) -> int:
        return len(self._all)

    def _evict(self) -> None:
        record_list = self._all
        left = self.recent_bytes - self._recent_limit
        is_empty = not len(record_list)
        while left > 0 and not is_empty:
            record = record_list.items[record_list.start]
            if record.id > self.watermark:
                break
            is_empty = record_list.drop_first()
            left -= record.cost + self._unlist_first(record)
            self.floor = record.id
        self.recent_bytes = left + self._recent_limit

    def _list(self, record: Record, listed: RecordList | None) -> int:
        """Put a record into the lists it belongs to; return the bytes of what is new of them.

        Args:
            listed: that of its channel, where there is one.
        """
        if names_readers(record.channel, record.audience):
            return self._users.add(record)
        if listed is None:
            listed = self._begin_list(record)
            cost = listed.cost
        else:
            cost = self._append_by_value(listed, record)
        return cost if listed.readers else cost + self._users.add(record)

    def _unlist_first(self, record: Record) -> int:
        """Take the oldest record of all off its lists; return the bytes of lists that end."""
        if names_readers(record.channel, record.audience):
            return self._users.drop_first(record)
        listed = self._channels[record.channel]
        by_user = not listed.readers
        # It is the first in every list.
        freed = self._end(record.channel, listed) if listed.drop_first() else 0
        return freed + self._users.drop_first(record) if by_user else freed

    def _unlist(self, record: Record) -> int:
        """Take any record off its lists; return the bytes of lists that end."""
        if names_readers(record.channel, record.audience):
            return self._users.remove(record)
        listed = self._channels[record.channel]
        listed.remove(record.id)
        by_user = not listed.readers
        freed = 0 if len(listed) else self._end(record.channel, listed)
        return freed + self._users.remove(record) if by_user else freed

    def _parts(self, bounds: Bounds, intervals: Iterable[Interval]) -> list[Part]:
        """What the intervals hold within the bounds, of the channels that have records here."""
        _, low, high, _, _ = bounds
        channels = self._channels
        parts: list[Part] = []
        for channel, first, last, _ in intervals:
            listed = channels.get(channel)
            if listed is None:
                continue
            after = low if low >= first else first - 1
            before = high if high <= last else last + 1
            if listed.items[-1].id > after and listed.items[listed.start].id < before:
                parts.append((listed, after, before))
        return parts

    def _end(self, channel: str, listed: RecordList) -> int:
        """Forget the list of a conversation, which is empty; return its bytes."""
        del self._channels[channel]
        self._users.forget(listed)
        return listed.cost

    def _begin_list(self, record: Record) -> RecordList:
        """List the first record of a conversation."""
        names = audience_bytes(record.channel, record.audience)
        record_list = self._channels[record.channel] = RecordList(LIST_BYTES + names)
        record_list.items.append(record)
        if is_large(record.audience):
            record_list.cost += self._users.note(record_list, record.audience)
        return record_list

    def _append_by_value(self, record_list: RecordList, record: Record) -> int:
        """Add a record whose audience is another object than the last one's; they are compared.

        Returns:
            The bytes that the list takes for it, beside the record's.
        """
        before = record_list.items[-1]
        record_list.items.append(record)
        if record.audience == before.audience:
            # Names read from a request or from the file: the same set is kept once.
            force_setattr(record, "audience", before.audience)
            force_setattr(record, "channel", before.channel)
            return 0
        added = audience_bytes(record.channel, record.audience)
        if record_list.readers:  # as the first of the conversation is listed, so are the others
            added += self._users.note(record_list, record.audience)
        record_list.cost += added
        return added
