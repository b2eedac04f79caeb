"""Records ascending by id, in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Final

from chatsvc.core.page import NO_BYTE_BOUND, Bounds, body_bytes, take
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES

by_id: Final[Callable[[Record], int]] = attrgetter("id")
"""The order of records."""
_COMPACT_AT: Final = 64

_REMOVED: Final = Record(
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


class RecordList:
    """Taken off the front without moving the rest each time.

    ``cost`` are the bytes of memory that go with the list itself. ``readers`` are the users who
    read it, of a conversation whose records are listed by it alone; ``mixed``: not every record
    is for all of them.
    """

    __slots__ = ("cost", "items", "mixed", "readers", "start")

    def __init__(self, cost: int = LIST_BYTES) -> None:
        self.items: list[Record] = []
        self.start = 0
        self.cost = cost
        self.readers: tuple[str, ...] = ()
        self.mixed = False

    def __len__(self) -> int:
        return len(self.items) - self.start

    def drop_first(self) -> bool:
        """Take the oldest away; return whether it was the last."""
        items, start = self.items, self.start
        items[start] = _REMOVED  # or the memory would stay until the next compaction
        start += 1
        if start >= _COMPACT_AT and start * 2 >= len(items):
            del items[:start]
            start = 0
        self.start = start
        return start == len(items)

    def get(self, record_id: int) -> Record | None:
        """The record of this id, if it is here."""
        index = bisect_left(self.items, record_id, self.start, key=by_id)
        if index < len(self.items) and self.items[index].id == record_id:
            return self.items[index]
        return None

    def remove(self, record_id: int) -> int:
        """Take one away; return where it was."""
        index = bisect_left(self.items, record_id, self.start, key=by_id)
        del self.items[index]
        return index

    def index_above(self, position: int) -> int:
        """Where the records above a position begin."""
        return bisect_right(self.items, position, self.start, key=by_id)

    def range(self, after: int, before: int) -> tuple[int, int]:
        """Where the records strictly between two ids begin and end."""
        low = self.index_above(after)
        return low, bisect_left(self.items, before, low, key=by_id)

    def page(self, bounds: Bounds) -> list[Record]:
        """As many of the range as the bounds allow, ascending."""
        low, high = self.range(bounds.after, bounds.before)
        if bounds.newest:
            page = self.items[max(low, high - bounds.limit) : high]
        else:
            page = self.items[low : min(high, low + bounds.limit)]
        return _bounded_in_bytes(page, bounds)


def bounded(records: list[Record], bounds: Bounds) -> list[Record]:
    """As much of ascending records as the bounds allow."""
    limit = max(bounds.limit, 0)
    from_end = records[max(len(records) - limit, 0) :]
    return _bounded_in_bytes(from_end if bounds.newest else records[:limit], bounds)


def _bounded_in_bytes(page: list[Record], bounds: Bounds) -> list[Record]:
    if bounds.max_bytes == NO_BYTE_BOUND or body_bytes(page) <= bounds.max_bytes:
        return page
    if bounds.newest:
        return take(reversed(page), _size, bounds.max_bytes)[::-1]
    return take(page, _size, bounds.max_bytes)


Part = tuple[RecordList, int, int]
"""A list, of which records strictly between two ids are read."""


def merged_page(
    user: str, lists: Sequence[RecordList], bounds: Bounds, parts: Iterable[Part] = ()
) -> list[Record]:
    """A user's page over several lists that share no record, ascending.

    Costs a look at each list that has something in the range, then a step of a heap for each
    record of the page.

    Args:
        parts: further lists, of which a part within the bounds is read.
    """
    _, after, before, newest, _ = bounds
    reaching = [(one, after, before) for one in lists if len(one) and one.items[-1].id > after]
    reaching += parts
    if len(reaching) > bounds.limit:
        reaching = _nearest(reaching, max(bounds.limit, 0), newest)
    sources = [_records(user, part, newest) for part in reaching]
    page = _taken(merge(*sources, key=by_id, reverse=newest), bounds)
    return page[::-1] if newest else page


def _nearest(parts: list[Part], limit: int, newest: bool) -> list[Part]:
    """Those that have the page: as many as it has records, by what is first in each.

    One of the others has nothing before the first of each of these. Where not every record of a
    list is for the reader, it is not known which is the first.
    """
    found = [part for part in parts if part[0].mixed]
    # No two have the same first: they share no record.
    heads = {_head(part, newest): part for part in parts if not part[0].mixed}
    heads.pop(0, None)
    return found + [heads[one] for one in sorted(heads, reverse=newest)[:limit]]


def _head(part: Part, newest: bool) -> int:
    """The id of the first record of a part, from the end that is said; 0: it has none."""
    one, after, before = part
    items = one.items
    if newest:
        head = items[-1].id
        if head >= before:  # the one below: none is the last again, or one of those that went
            head = items[bisect_left(items, before, one.start, key=by_id) - 1].id
        return head if after < head < before else 0
    head = items[one.start].id
    if head <= after:
        head = items[one.index_above(after)].id
    return head if head < before else 0


def _records(user: str, part: Part, newest: bool) -> Iterator[Record]:
    """Those of the user's in a part, from the end that is said."""
    one, after, before = part
    low, high = one.range(after, before)
    places = range(high - 1, low - 1, -1) if newest else range(low, high)
    records = map(one.items.__getitem__, places)
    return filter(lambda record: user in record.audience, records) if one.mixed else records


def _taken(records: Iterable[Record], bounds: Bounds) -> list[Record]:
    within = islice(records, max(bounds.limit, 0))
    if bounds.max_bytes == NO_BYTE_BOUND:
        return list(within)
    return take(within, _size, bounds.max_bytes)
