"""Which ids of a group or a room a reader sees, and pages over several ranges of ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.membership import Interval
from chatsvc.core.page import Bounds, Page, body_bytes
from chatsvc.log.tail import Tail, overlap
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.page_reader import ReadPage
from chatsvc.storage.history.pages import cut

_NOT_KNOWN: Final = "of what was before, only the store knows whether the reader was a member"


class IdRange(NamedTuple):
    """Ids from ``first`` to ``last``, both included."""

    first: int
    last: int


class Shown(NamedTuple):
    """The ids of a group or a room that a user sees.

    Args:
        ranges: ascending; no two touch.
        unknown: as in :class:`~chatsvc.storage.history.memberships.ChannelIntervals`.
    """

    ranges: Sequence[IdRange]
    unknown: tuple[int, int] | None = None

    def holds(self, record_id: int) -> bool:
        """Whether the user sees an id.

        Raises:
            StoreUnavailable: it is not known.
        """
        if any(one.first <= record_id <= one.last for one in self.ranges):
            return True
        if self.leaves_open(record_id - 1, record_id + 1):
            raise StoreUnavailable(_NOT_KNOWN)
        return False

    def leaves_open(self, after: int, before: int) -> bool:
        """Whether it is not known of some id strictly between two."""
        return self.unknown is not None and overlap([self.unknown], after, before)


async def shown_to(memberships: Memberships, tail: Tail, user: str, channel: str) -> Shown:
    """The ids of a group or a room that a user sees, up to the tail's head.

    Of what comes later it is not known whether the user is still a member.
    """
    found = await memberships.intervals_in(user, channel)
    return Shown(visible_ranges(found.known, tail.head), found.unknown)


def visible_ranges(intervals: Iterable[Interval], up_to: int) -> list[IdRange]:
    """The ids that pages show, ascending; no two ranges touch.

    An interval is shown from its ``visible_from`` on, which may be below its first id or above it,
    and from its first id where there is none.
    """
    shown = sorted(
        IdRange(one.visible_from or one.first, min(one.last, up_to)) for one in intervals
    )
    ranges: list[IdRange] = []
    for one in shown:
        if one.first > one.last:
            continue
        if ranges and one.first <= ranges[-1].last + 1:
            ranges[-1] = ranges[-1]._replace(last=max(ranges[-1].last, one.last))
        else:
            ranges.append(one)
    return ranges


async def page_within(shown: Shown, read: ReadPage, bounds: Bounds) -> Page:
    """A page of what is shown, range by range from the end that is asked for.

    Args:
        shown: what is read.
        read: reads a page, whatever the ranges are.
        bounds: of the page.

    Raises:
        StoreUnavailable: as ``read``, or it is not known what is shown; but of the newest of a
            range what was read before that is a page.
    """
    if shown.leaves_open(bounds.after, bounds.before) and not bounds.newest:
        raise StoreUnavailable(_NOT_KNOWN)  # behind it there would be a hole
    found = await _known_page(shown.ranges, read, bounds)
    after = found.entries[0].id - 1 if found.has_more and found.entries else bounds.after
    if not shown.leaves_open(after, bounds.before):
        return found
    if not found.entries:
        raise StoreUnavailable(_NOT_KNOWN)
    return found._replace(has_more=True, complete=False)


async def _known_page(ranges: Sequence[IdRange], read: ReadPage, bounds: Bounds) -> Page:
    found = Page([], has_more=False, complete=True)
    for one in reversed(ranges) if bounds.newest else ranges:
        after, before = max(bounds.after, one.first - 1), min(bounds.before, one.last + 1)
        if before - after < 2:
            continue  # there is no id between them
        rest = Bounds(
            bounds.limit - len(found.entries),
            after,
            before,
            bounds.newest,
            max(bounds.max_bytes - body_bytes(found.entries), 0),
        )
        try:
            page = await read(rest)
        except StoreUnavailable:
            if not (bounds.newest and found.entries):
                raise
            return found._replace(has_more=True, complete=False)
        found = _joined(found, page, bounds)
        if found.has_more:
            break
    return found


def _joined(found: Page, further: Page, bounds: Bounds) -> Page:
    """What was found, and behind it a page of the next range."""
    if not further.entries and further.has_more:
        return found._replace(has_more=True)  # it speaks of nothing that this page has
    both = [further.entries, found.entries] if bounds.newest else [found.entries, further.entries]
    page = cut(both[0] + both[1], bounds)
    return Page(
        page.entries,
        page.has_more or further.has_more,
        found.complete and further.complete,
        found.lost or further.lost,
    )
