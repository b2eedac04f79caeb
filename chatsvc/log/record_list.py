"""Records ascending by id, in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge, nlargest
from itertools import islice
from operator import attrgetter
from typing import Final

from chatsvc.core.page import NO_BYTE_BOUND, Bounds, body_bytes, take
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES

_by_id: Final[Callable[[Record], int]] = attrgetter("id")
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

    def drop_first(self) -> None:
        """Take the oldest away."""
        self.items[self.start] = _REMOVED  # or the memory would stay until the next compaction
        self.start += 1
        if self.start >= _COMPACT_AT and self.start * 2 >= len(self.items):
            del self.items[: self.start]
            self.start = 0

    def get(self, record_id: int) -> Record | None:
        """The record of this id, if it is here."""
        index = bisect_left(self.items, record_id, self.start, key=_by_id)
        if index < len(self.items) and self.items[index].id == record_id:
            return self.items[index]
        return None

    def remove(self, record_id: int) -> int:
        """Take one away; return where it was."""
        index = bisect_left(self.items, record_id, self.start, key=_by_id)
        del self.items[index]
        return index

    def index_above(self, position: int) -> int:
        """Where the records above a position begin."""
        return bisect_right(self.items, position, self.start, key=_by_id)

    def range(self, bounds: Bounds) -> tuple[int, int]:
        """Where the records between the bounds begin and end."""
        low = self.index_above(bounds.after)
        return low, bisect_left(self.items, bounds.before, low, key=_by_id)

    def page(self, bounds: Bounds) -> list[Record]:
        """As many of the range as the bounds allow, ascending."""
        low, high = self.range(bounds)
        if bounds.newest:
            page = self.items[max(low, high - bounds.limit) : high]
        else:
            page = self.items[low : min(high, low + bounds.limit)]
        if bounds.max_bytes == NO_BYTE_BOUND or body_bytes(page) <= bounds.max_bytes:
            return page
        if bounds.newest:
            return take(reversed(page), _size, bounds.max_bytes)[::-1]
        return take(page, _size, bounds.max_bytes)


def merged_page(user: str, lists: Sequence[RecordList], bounds: Bounds) -> list[Record]:
    """A user's page over several lists that share no record, ascending.

    Costs a search in each list that has something in the range, then a step of a heap for each
    record of the page.
    """
    reaching = [one for one in lists if len(one) and one.items[-1].id > bounds.after]
    if not bounds.newest:
        oldest = merge(*(_records(user, one, bounds) for one in reaching), key=_by_id)
        return _taken(oldest, bounds)
    if len(reaching) > bounds.limit and all(_end_is_in(one, bounds) for one in reaching):
        # One of the others has nothing newer than the newest of each of these.
        reaching = nlargest(bounds.limit, reaching, key=_last_id)
    newest = merge(*(_records(user, one, bounds) for one in reaching), key=_by_id, reverse=True)
    return _taken(newest, bounds)[::-1]


def _last_id(one: RecordList) -> int:
    return one.items[-1].id


def _end_is_in(one: RecordList, bounds: Bounds) -> bool:
    """Whether the last record of the list is in the range, and for every reader."""
    return not one.mixed and _last_id(one) < bounds.before


def _records(user: str, one: RecordList, bounds: Bounds) -> Iterator[Record]:
    """Those of the user's within the bounds, from the end that the bounds say."""
    low, high = one.range(bounds)
    places = range(high - 1, low - 1, -1) if bounds.newest else range(low, high)
    records = map(one.items.__getitem__, places)
    return filter(lambda record: user in record.audience, records) if one.mixed else records


def _taken(records: Iterable[Record], bounds: Bounds) -> list[Record]:
    within = islice(records, max(bounds.limit, 0))
    if bounds.max_bytes == NO_BYTE_BOUND:
        return list(within)
    return take(within, _size, bounds.max_bytes)
