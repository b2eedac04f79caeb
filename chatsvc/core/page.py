"""Id ranges of the log, and the pages that answer a query for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from chatsvc.core.ids import MAX_ID

MAX_PAGE_BYTES: Final = 1024 * 1024
"""The maximum size of the bodies in a page, in bytes."""

NO_BYTE_BOUND: Final = 1 << 62
"""For reads that copy no bodies: counts, and lists of what is in memory already."""

T = TypeVar("T")


class HasBody(Protocol):
    """Something with a body: an entry or a record."""

    @property
    def body(self) -> bytes:
        """The JSON that clients see."""


B = TypeVar("B", bound=HasBody)


class Bounds(NamedTuple):
    """An id range with bounds: ids strictly between ``after`` and ``before``, which need not exist.

    ``newest`` selects the end from which at most ``limit`` are taken: the newest of the range
    (paging back), or the oldest (catching up). Pages are ascending by id in both cases.

    ``max_bytes`` bounds the total size of the bodies. A source (store, tail) stops *after* the
    entry that exceeds it, and never before the second entry. As with a ``limit`` of one more
    than needed, the reader then knows that there is more, and :func:`fit` removes the excess.
    """

    limit: int
    after: int = 0
    before: int = MAX_ID
    newest: bool = True
    max_bytes: int = MAX_PAGE_BYTES

    def reached_by(self, entries: Sequence[HasBody]) -> bool:
        """Whether a source stopped at these bounds, so that there may be more.

        Otherwise the range ended.
        """
        if len(entries) >= self.limit:
            return True
        return len(entries) > 1 and body_bytes(entries) > self.max_bytes


def body_bytes(entries: Iterable[HasBody]) -> int:
    """Return the total size of the bodies."""
    return sum([len(entry.body) for entry in entries])


def take(rows: Iterable[T], size: Callable[[T], int], max_bytes: int) -> list[T]:
    """Return the first rows, up to and including the one that exceeds ``max_bytes`` in total.

    At least two, if there are two. No further row is read.
    """
    taken: list[T] = []
    total = 0
    for row in rows:
        taken.append(row)
        total += size(row)
        if total > max_bytes and len(taken) > 1:
            break
    return taken


def fit(
    rows: Sequence[T], size: Callable[[T], int], limit: int, max_bytes: int, *, from_end: bool
) -> list[T]:
    """Return as many rows from one end as ``limit`` and ``max_bytes`` allow.

    The first of them is returned even if it alone is larger. ``from_end``: the last ones, for
    the newest of ascending rows.
    """
    total = 0
    kept = 0
    for row in reversed(rows) if from_end else rows:
        total += size(row)
        if kept == limit or (kept and total > max_bytes):
            break
        kept += 1
    return list(rows[len(rows) - kept :] if from_end else rows[:kept])


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message, or one change, as a reader needs it: the JSON of ``body`` is what clients see.

    ``rev`` is the id of the last record that changed it (its own, as long as nothing
    has). Pages and replay go by ``id``.
    """

    id: int
    rev: int
    channel: str
    sender: str
    origin: str
    audience: tuple[str, ...]
    body: bytes
    kind: str = "message"


class RecordPage(NamedTuple):
    """Records of every kind, ascending by id.

    Args:
        entries: the entries.
        up_to: the last id that was looked at: what is asked for next lies above it.
        has_more: whether there may be more above it.
        complete, lost: as in :class:`Page`.
    """

    entries: list[Entry]
    up_to: int
    has_more: bool
    complete: bool
    lost: tuple[int, int] | None = None


class Page(NamedTuple):
    """Entries ascending by id.

    Args:
        entries: the entries.
        has_more: whether there are more in the direction asked: older ones for the newest of a
            range, newer ones for the oldest.
        complete: false where something in the range may be missing for now: the store was
            unavailable and only what the log's tail holds is here, or the store is being filled
            up with what one before it had.
        lost: an id range, above the first id up to the second, of which the page touches a part
            and of which nothing is held any more; ``None`` where it touches none.
    """

    entries: list[Entry]
    has_more: bool
    complete: bool
    lost: tuple[int, int] | None = None
