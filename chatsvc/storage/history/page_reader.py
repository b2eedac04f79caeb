"""Pages of records, from the store up to the tail's floor and from the log's tail above it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import MAX_PAGE_BYTES, NO_BYTE_BOUND, Bounds, Entry, Page, body_bytes
from chatsvc.log.tail import Tail, overlap
from chatsvc.storage.history.pages import (
    FromTail,
    Source,
    covered_by,
    cut,
    differ,
    entries_of,
    lost_in,
    merge,
)
from chatsvc.storage.retention import Expiry

ReadPage = Callable[[Bounds], Awaitable[Page]]
"""Reads a page of something."""


class PageReader:
    """Reads over store and tail, of whatever the two are asked for.

    Args:
        tail: the log's.
        expiry: what is too old is not shown.
    """

    def __init__(self, tail: Tail, expiry: Expiry) -> None:
        self._tail = tail
        self._expiry = expiry

    async def page(self, source: Source, bounds: Bounds) -> Page:
        """Entries within the bounds.

        Raises:
            StoreUnavailable: the store is needed, and the tail has nothing that would be an answer.
        """
        bounds = self._visible(bounds)
        tail = self._tail
        from_tail = await _opened(source)
        floor, complete_above = tail.floor, tail.complete_above
        lacking = tail.lacking()
        one_more = bounds._replace(limit=bounds.limit + 1)
        # Taken before any wait: what the tail lets go of meanwhile is in here.
        here = from_tail(one_more._replace(after=max(bounds.after, complete_above)))
        if bounds.after >= complete_above or (bounds.newest and one_more.reached_by(here)):
            return cut(here, bounds)
        below = one_more._replace(before=min(bounds.before, complete_above + 1))
        if bounds.newest:
            max_bytes = max(bounds.max_bytes - body_bytes(here), 0)
            below = below._replace(limit=bounds.limit + 1 - len(here), max_bytes=max_bytes)
        both: list[Entry] = []
        if complete_above > floor:
            both = from_tail(below._replace(after=max(bounds.after, floor)))
        try:
            stored = await source.from_store(below)
        except StoreUnavailable:
            # From the other end there would be a hole between ``after`` and the first.
            if not bounds.newest or not (both or here):
                raise
            kept = cut(both + here, bounds)
            return Page(kept.entries, has_more=True, complete=False)
        page = cut(merge(stored, both) + here, bounds)
        covered = covered_by(page, bounds)
        complete = not overlap(lacking, *covered) and not differ(stored, both)
        return page._replace(complete=complete, lost=lost_in(tail, *covered))

    async def around(self, read: ReadPage, message_id: int, limit: int) -> Page:
        """Up to half of ``limit`` below the id, the id itself if it exists, the rest above.

        ``has_more``: there are older ones.

        Args:
            read: reads a page of what the message is looked for in.
            message_id: the id.
            limit: how many there may be.

        Raises:
            StoreUnavailable: as :meth:`page`.
        """
        older = Page([], has_more=True, complete=False)
        unavailable: StoreUnavailable | None = None
        try:
            bounds = Bounds(limit // 2, before=message_id, max_bytes=MAX_PAGE_BYTES // 2)
            older = await read(bounds)
        except StoreUnavailable as exc:
            unavailable = exc
        rest = Bounds(
            limit - len(older.entries),
            after=max(message_id - 1, 0),
            newest=False,
            max_bytes=max(MAX_PAGE_BYTES - body_bytes(older.entries), 0),
        )
        newer = await read(rest)
        if unavailable is not None and not newer.entries:
            raise unavailable
        complete = older.complete and newer.complete
        lost = older.lost or newer.lost
        has_more = older.has_more or newer.has_more
        return Page(older.entries + newer.entries, has_more, complete, lost)

    async def count(
        self,
        source: Source,
        count_stored: Callable[[Bounds], Awaitable[int]],
        bounds: Bounds,
    ) -> int:
        """How many entries :meth:`page` would find, counted up to the limit."""
        bounds = self._visible(bounds)._replace(max_bytes=NO_BYTE_BOUND)
        tail = self._tail
        from_tail = await _opened(source)
        above = max(bounds.after, tail.complete_above)
        here = len(from_tail(bounds._replace(after=above)))
        if here >= bounds.limit or bounds.after >= above:
            return here
        rest = bounds._replace(limit=bounds.limit - here, before=min(bounds.before, above + 1))
        if tail.base > tail.floor:
            # Some are in both: they have to be looked at.
            return here + await self._count_both(source, rest)
        return here + await count_stored(rest)

    async def _count_both(self, source: Source, bounds: Bounds) -> int:
        count = 0
        rest = bounds._replace(newest=False, max_bytes=MAX_PAGE_BYTES)
        while count < bounds.limit:
            page = await self.page(source, rest)
            count += len(page.entries)
            if not page.has_more:
                break
            rest = rest._replace(limit=bounds.limit - count, after=page.entries[-1].id)
        return count

    def oldest_kept(self) -> int:
        """The lowest id that has not expired; 0: none expires."""
        return self._expiry.oldest_kept()

    def _visible(self, bounds: Bounds) -> Bounds:
        oldest = self._expiry.oldest_kept()
        return bounds._replace(after=max(bounds.after, oldest - 1))


async def _opened(source: Source) -> FromTail:
    return partial(entries_of, await source.open_tail(), source.selects)
