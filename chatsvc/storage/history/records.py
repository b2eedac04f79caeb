"""Records of every kind, oldest first, over store and tail: what a resume replays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final, NamedTuple

from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry, Page, RecordPage
from chatsvc.log.tail import Tail
from chatsvc.storage.history.filtered import LOOKED_AT, Hidden, IsHidden, ReaderFilters
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.page_reader import PageReader, ReadPage
from chatsvc.storage.history.pages import Source
from chatsvc.storage.history.ranges import Shown, page_within, shown_to
from chatsvc.storage.history.sources import RecordStore, Sources
from chatsvc.storage.history.store_access import StoreAccess

_PART: Final = 250
"""Records that are looked at between two turns of the loop."""


class _Sources(NamedTuple):
    """Where records of a user or of a conversation are read: those of every kind, and messages.

    ``shown`` are the ids of them that are read; ``None``: all. What is ``hidden`` is left out.
    """

    records: Source
    messages: Source
    hidden: Hidden
    shown: Shown | None = None


_Count = Callable[[str, Bounds], Awaitable[int]]


def _wants(kinds: AbstractSet[str] | None, is_hidden: IsHidden | None, entry: Entry) -> bool:
    """Whether a page of some kinds has an entry."""
    if kinds is not None and entry.kind not in kinds:
        return False
    return is_hidden is None or not is_hidden(entry)


class RecordHistory:
    """Reads over store and tail.

    The errors are those of :class:`~chatsvc.storage.history.history.History`.

    ``kinds`` of a call are the names of those that are asked for; ``None``: all.

    Args:
        store: asked by ``access``.
        tail: the log's.
        pages: puts pages of both together.
        access: by which the store is asked.
        kinds: those that this program knows.
        memberships: who is, and was, in which groups and rooms.
        sources: of the records, over both.
        filters: what a page leaves out for its reader.
    """

    def __init__(
        self,
        store: RecordStore,
        tail: Tail,
        pages: PageReader,
        access: StoreAccess,
        kinds: Kinds,
        memberships: Memberships,
        sources: Sources,
        filters: ReaderFilters,
    ) -> None:
        self._store = store
        self._tail = tail
        self._pages = pages
        self._access = access
        self._kinds = kinds
        self._memberships = memberships
        self._sources = sources
        self._filters = filters

    def oldest_kept(self) -> int:
        """The lowest id that has not expired; 0: none expires."""
        return self._pages.oldest_kept()

    async def user_page(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> RecordPage:
        """The oldest records for the user."""
        return await self._page(self._of_user(user), bounds, kinds)

    async def channel_page(
        self, channel: str, bounds: Bounds, kinds: AbstractSet[str] | None = None, *, reader: str
    ) -> RecordPage:
        """The oldest records of one conversation, for the user who reads.

        Of a group or a room those that the reader is shown, without those that name others.
        """
        hidden = self._filters.in_channel(reader, channel)
        shown: Shown | None = None
        if is_member_channel(channel):
            shown = await shown_to(self._memberships, self._tail, reader, channel)
            # What comes later is not looked at: the reader may be no member any more by then.
            bounds = bounds._replace(before=min(bounds.before, self._tail.head + 1))
        records = self._sources.channel_records(channel, reader)
        messages = self._sources.channel_messages(channel, reader)
        return await self._page(_Sources(records, messages, hidden, shown), bounds, kinds)

    async def body(self, record_id: int, *, reader: str) -> bytes | None:
        """The JSON of one record, for a reader whom it is known to be for.

        ``None`` where there is none, and while the store has yet to get it.
        """
        record = self._tail.get(record_id)
        if record is not None:
            return record.body
        entry = await self._access.ask(reader, lambda: self._store.get_record(record_id))
        return entry.body if entry is not None else None

    async def count_user(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> int:
        """How many records :meth:`user_page` would find, counted up to ``bounds.limit``.

        Those too that are hidden from the user.
        """
        sources = self._of_user(user)
        if kinds is None:
            return await self._pages.count(
                sources.records,
                partial(self._ask_count, user, self._store.count_user_records),
                bounds,
            )
        if self._are_messages(kinds):
            return await self._pages.count(
                sources.messages,
                partial(self._ask_count, user, self._store.count_user),
                bounds,
            )
        count, is_all = await self._count_some(sources, bounds, kinds, None)
        return count if is_all else bounds.limit

    async def count_shown(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> int:
        """The same without those that are hidden, of as many as are looked at."""
        sources = self._of_user(user)
        count, _ = await self._count_some(sources, bounds, kinds, sources.hidden)
        return count

    async def _count_some(
        self,
        sources: _Sources,
        bounds: Bounds,
        kinds: AbstractSet[str] | None,
        hidden: Hidden | None,
    ) -> tuple[int, bool]:
        """Count by looking at records, at most twice as many as are counted or :data:`LOOKED_AT`.

        Returns:
            How many there are of them, up to the limit, and whether all were looked at that may
            have to be: whoever counts does not go on by looking at them one by one.
        """
        count = looked_at = 0
        maximum = max(2 * bounds.limit, LOOKED_AT)
        rest = bounds._replace(newest=False, max_bytes=MAX_PAGE_BYTES)
        while count < bounds.limit:
            if looked_at >= maximum:
                return count, False
            part = await self._part(sources, rest, maximum - looked_at)
            is_hidden = await hidden() if hidden is not None else None
            count += sum(_wants(kinds, is_hidden, entry) for entry in part.entries)
            looked_at += len(part.entries)
            if not part.has_more:
                break
            rest = rest._replace(after=part.up_to)
        return min(count, bounds.limit), True

    async def _page(
        self, sources: _Sources, bounds: Bounds, kinds: AbstractSet[str] | None
    ) -> RecordPage:
        are_messages = kinds is not None and self._are_messages(kinds)
        if await sources.hidden() is not None or not (kinds is None or are_messages):
            return await self._filtered(sources, bounds, kinds)
        source = sources.messages if are_messages else sources.records
        page = await self._read(source, sources.shown, bounds)
        is_hidden = await sources.hidden()  # a block may be newer than the question
        if is_hidden is None:
            return page
        return page._replace(entries=[one for one in page.entries if not is_hidden(one)])

    async def _filtered(
        self, sources: _Sources, bounds: Bounds, kinds: AbstractSet[str] | None
    ) -> RecordPage:
        """Some of all records: a bounded number of records is looked at, part by part."""
        found: list[Entry] = []
        size = looked_at = 0
        up_to, complete = bounds.after, True
        lost: tuple[int, int] | None = None
        while True:
            part = await self._part(sources, bounds._replace(after=up_to), LOOKED_AT - looked_at)
            is_hidden = await sources.hidden()
            complete, lost = complete and part.complete, lost or part.lost
            for entry in part.entries:
                if _wants(kinds, is_hidden, entry):
                    size += len(entry.body)
                    if len(found) == bounds.limit or (found and size > bounds.max_bytes):
                        return RecordPage(found, up_to, True, complete, lost)
                    found.append(entry)
                up_to = entry.id
            up_to = part.up_to
            looked_at += len(part.entries)
            if not part.has_more or not complete or looked_at >= LOOKED_AT:
                return RecordPage(found, up_to, part.has_more, complete, lost)

    async def _part(self, sources: _Sources, bounds: Bounds, limit: int) -> RecordPage:
        """The next records of all kinds, not more than may be looked at in one go."""
        await asyncio.sleep(0)  # what is in the tail is looked at without any other wait
        part = bounds._replace(limit=min(limit, _PART), max_bytes=MAX_PAGE_BYTES)
        return await self._read(sources.records, sources.shown, part)

    async def _read(self, source: Source, shown: Shown | None, bounds: Bounds) -> RecordPage:
        assert not bounds.newest
        head = self._tail.head  # before any wait: what comes later is not looked at
        read: ReadPage = partial(self._pages.page, source)
        if shown is not None:
            read = partial(page_within, shown, read)
        page: Page = await read(bounds)
        up_to = page.entries[-1].id if page.entries else bounds.after
        if not page.has_more:
            up_to = max(up_to, min(head, bounds.before - 1))
        return RecordPage(page.entries, up_to, page.has_more, page.complete, page.lost)

    def _are_messages(self, kinds: AbstractSet[str]) -> bool:
        return all(self._kinds.counts(kind) for kind in kinds) and all(
            kind in kinds for kind in self._kinds.names if self._kinds.counts(kind)
        )

    async def _ask_count(self, user: str, count: _Count, bounds: Bounds) -> int:
        return await self._access.ask(user, lambda: count(user, bounds))

    def _of_user(self, user: str) -> _Sources:
        records, messages = self._sources.user_records(user), self._sources.user_messages(user)
        return _Sources(records, messages, self._filters.over_all(user))
