"""Pages without what the reader's filters hide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.filters import NO_FILTERS, Filtered, Filters
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry, Page
from chatsvc.log.state import ADOPTING
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.page_reader import ReadPage
from chatsvc.storage.history.pages import cut

LOOKED_AT: Final = 2000
"""Records that one page looks at, of which it may have few; of messages it has one, or is the end.
"""
_PART: Final = 100
"""Records that are read at once, at least, behind a first part that was not enough."""

IsHidden = Callable[[Filtered], bool]


class ReaderFilters:
    """What pages leave out for their reader.

    Args:
        memberships: know the filters.
        kinds: whether a block hides a record is asked of its kind.
    """

    def __init__(self, memberships: Memberships, kinds: Kinds) -> None:
        self._memberships = memberships
        self._is_blockable = kinds.is_blockable

    async def of(self, user: str) -> Filters:
        """The filters of a user.

        Raises:
            LogUnavailable: they cannot be read now.
        """
        return await self._memberships.filters(user)

    async def over_all(self, user: str) -> IsHidden | None:
        """What of all conversations is hidden from a user; ``None``: nothing.

        Raises:
            LogUnavailable: as :meth:`of`.
        """
        filters = await self.of(user)
        return partial(self._hides, filters.hides) if filters else None

    async def in_channel(self, user: str, channel: str) -> IsHidden | None:
        """What of one conversation is hidden from a user; ``None``: nothing.

        Sets go on while the log's state is read from the store: nothing of them is hidden then.

        Raises:
            LogUnavailable: as :meth:`of`.
        """
        try:
            filters = await self.of(user)
        except LogUnavailable as exc:
            if exc.code != ADOPTING or is_member_channel(channel):
                raise
            filters = NO_FILTERS
        return partial(self._hides, filters.blocks) if filters else None

    def _hides(
        self, decide: Callable[[Filtered, Callable[[str], bool]], bool], sent: Filtered
    ) -> bool:
        return decide(sent, self._is_blockable)


def reading(read: ReadPage, is_hidden: IsHidden | None) -> ReadPage:
    """Return what reads the same pages without what is hidden."""
    return read if is_hidden is None else partial(page_without, is_hidden, read)


async def page_without(is_hidden: IsHidden, read: ReadPage, bounds: Bounds) -> Page:
    """A page without what is hidden, part by part from the end that is asked for.

    It ends, with ``has_more``, behind :data:`LOOKED_AT` records if it has any by then.

    Raises:
        StoreUnavailable: as ``read``; but of the newest of a range what was read before is a page.
    """
    found: list[Entry] = []
    looked_at, rest, page = 0, bounds, Page([], has_more=True, complete=True)
    complete, lost = True, None
    while page.has_more:
        try:
            page = await read(rest)
        except StoreUnavailable:
            if not (bounds.newest and found):
                raise
            page, complete = Page([], has_more=True, complete=False), False
        complete, lost = complete and page.complete, lost or page.lost
        kept = [entry for entry in page.entries if not is_hidden(entry)]
        found = kept + found if bounds.newest else found + kept
        looked_at += len(page.entries)
        if not page.entries or bounds.reached_by(found) or (found and looked_at >= LOOKED_AT):
            break
        rest = _behind(page, bounds)
        await asyncio.sleep(0)  # what is in the tail is read without any other wait
    within = cut(found, bounds)
    return Page(within.entries, within.has_more or page.has_more, complete, lost)


def _behind(page: Page, bounds: Bounds) -> Bounds:
    """The next part: what lies behind a page of the one before."""
    rest = bounds._replace(limit=max(bounds.limit, _PART), max_bytes=MAX_PAGE_BYTES)
    if bounds.newest:
        return rest._replace(before=page.entries[0].id)
    return rest._replace(after=page.entries[-1].id)
