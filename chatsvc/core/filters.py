"""What a reader does not receive: the senders blocked, and the sets left, by ranges of ids.

A block hides what its sender wrote within its range, for good: in deliveries, pages and replays,
and where a single record is read. Who has left a set does not receive what is sent to it within
the range, and does not find it among the conversations until it ends; pages of that set alone
show everything, for its participants never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from chatsvc.core.membership import BLOCK, LEFT, Filter

Ranges = dict[str, list[tuple[int, int]]]
"""By sender or channel: from the first id up to, not including, the second; 0 is no end."""


class Filterable(Protocol):
    """A record, or an entry of a page, as far as filters go by it."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def channel(self) -> str:
        """Its conversation."""

    @property
    def sender(self) -> str:
        """The user who caused it."""

    @property
    def kind(self) -> str:
        """Its kind."""


class Filters:
    """The filters of one user. False where there are none.

    Args:
        rows: as the log's state has them.
    """

    __slots__ = ("_blocked", "_left", "rows")

    def __init__(self, rows: Iterable[Filter] = ()) -> None:
        self.rows = tuple(rows)
        self._blocked: Ranges = {}
        self._left: Ranges = {}
        for row in self.rows:
            ranges = {BLOCK: self._blocked, LEFT: self._left}.get(row.sort)
            # Another sort is of a newer version. Nobody is kept from what is their own.
            if ranges is not None and not (ranges is self._blocked and row.of == row.user):
                ranges.setdefault(row.of, []).append((row.since, row.until))

    def __bool__(self) -> bool:
        return bool(self.rows)

    def hides(self, sent: Filterable, is_blockable: Callable[[str], bool]) -> bool:
        """Whether the user does not receive a record.

        Args:
            sent: the record.
            is_blockable: whether a block of the sender hides a kind.
        """
        return _holds(self._left, sent.channel, sent.id) or self.blocks(sent, is_blockable)

    def blocks(self, sent: Filterable, is_blockable: Callable[[str], bool]) -> bool:
        """Whether the user does not see a record, wherever it is read; as :meth:`hides`."""
        return self.blocks_sender(sent.sender, sent.id) and is_blockable(sent.kind)

    def blocks_sender(self, sender: str, record_id: int) -> bool:
        """Whether what a sender wrote under an id is hidden."""
        return _holds(self._blocked, sender, record_id)

    def has_left(self, channel: str) -> bool:
        """Whether the user has left a set and not returned."""
        return any(not until for _, until in self._left.get(channel, ()))

    def with_rows(self, rows: Iterable[Filter]) -> Filters:
        """Return these filters with rows that are new, or replace those of their key."""
        found = {(one.sort, one.of, one.since): one for one in (*self.rows, *rows)}
        return Filters(found.values())


NO_FILTERS: Final = Filters()
"""Of a user who receives everything."""


def _holds(ranges: Ranges, key: str, record_id: int) -> bool:
    return any(
        since <= record_id and (not until or record_id < until)
        for since, until in ranges.get(key, ())
    )
