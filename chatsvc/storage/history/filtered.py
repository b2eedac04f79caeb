"""Pages without what the reader's filters hide."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.filters import Filterable
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
_LARGEST_PART: Final = 1000
"""Records that are read at once behind a first part that was not enough: each time twice as many.
"""

IsHidden = Callable[[Filterable], bool]
Hidden = Callable[[], Awaitable[IsHidden | None]]
"""What is hidden, as of the step in which it returns; ``None``: nothing. Asked behind each read:
what was written after a block is in no page, whenever that was asked for."""


class ReaderFilters:
    """What pages leave out for their reader.

    Args:
        memberships: know the filters.
        kinds: whether a block hides a record is asked of its kind.
    """

    def __init__(self, memberships: Memberships, kinds: Kinds) -> None:
        self._memberships = memberships
        self._is_blockable = kinds.is_blockable

    def over_all(self, user: str) -> Hidden:
        """What of all conversations is hidden from a user.

        It raises ``LogUnavailable`` where the filters cannot be read now.
        """

        async def hidden() -> IsHidden | None:
            filters = await self._memberships.filters(user)
            return (lambda sent: filters.hides(sent, self._is_blockable)) if filters else None

        return hidden

    def in_channel(self, user: str, channel: str) -> Hidden:
        """What of one conversation is hidden from a user.

        It raises as :meth:`over_all`. But sets go on while the log's state is read from the store:
        nothing of them is hidden then.
        """

        async def hidden() -> IsHidden | None:
            try:
                filters = await self._memberships.filters(user)
            except LogUnavailable as exc:
                if exc.code != ADOPTING or is_member_channel(channel):
                    raise
                return None
            return (lambda sent: filters.blocks(sent, self._is_blockable)) if filters else None

        return hidden


async def page_without(
    hidden: Hidden, read: ReadPage, bounds: Bounds, *, until_found: bool = True
) -> Page:
    """A page without what is hidden, part by part from the end that is asked for.

    It ends, with ``has_more``, behind :data:`LOOKED_AT` records, if it has any by then.

    Args:
        hidden: what is left out.
        read: reads a page with it.
        bounds: of the page.
        until_found: whether one that has none by then goes on until it has one, or ends.

    Raises:
        StoreUnavailable: as ``read``; but of the newest of a range what was read before is a page.
        LogUnavailable: as ``hidden``.
    """
    found: list[Entry] = []
    looked_at, part, rest = 0, _PART, bounds
    complete, lost = True, None
    while True:
        try:
            page = await read(rest)
        except StoreUnavailable:
            if not (bounds.newest and found):
                raise
            page = Page([], has_more=True, complete=False)
        is_hidden = await hidden()
        if is_hidden is None and not looked_at:
            return page
        complete, lost = complete and page.complete, lost or page.lost
        kept = [one for one in page.entries if is_hidden is None or not is_hidden(one)]
        found = kept + found if bounds.newest else found + kept
        looked_at += len(page.entries)
        ends = not page.has_more or not page.entries or bounds.reached_by(found)
        if ends or (looked_at >= LOOKED_AT and (found or not until_found)):
            break
        rest = _behind(page, bounds, part)
        part = min(2 * part, _LARGEST_PART)
        await asyncio.sleep(0)  # what is in the tail is read without any other wait
    within = cut(found, bounds)
    return Page(within.entries, within.has_more or page.has_more, complete, lost)


def _behind(page: Page, bounds: Bounds, part: int) -> Bounds:
    """The next part: what lies behind a page of the one before."""
    rest = bounds._replace(limit=max(bounds.limit, part), max_bytes=MAX_PAGE_BYTES)
    if bounds.newest:
        return rest._replace(before=page.entries[0].id)
    return rest._replace(after=page.entries[-1].id)
