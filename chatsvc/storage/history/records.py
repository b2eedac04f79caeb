"""Records of every kind, oldest first, over store and tail: what a resume replays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final, NamedTuple, Protocol

from chatsvc.core.kinds import Kinds
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry, Page, RecordPage
from chatsvc.log.tail import Tail
from chatsvc.storage.history.page_reader import FromStore, PageReader
from chatsvc.storage.history.pages import FromTail, RecordsOf, entries_of
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.ports.records import RecordReader

LOOKED_AT: Final = 2000
"""Records that one page looks at, of which it may have few, or none."""
_PART: Final = 250
"""Records that are looked at between two turns of the loop."""


class RecordStore(MessageReader, RecordReader, Protocol):
    """A store, as far as records are read from it."""


class _Source(NamedTuple):
    """Where records of a user or of a conversation are read."""

    records_of: RecordsOf
    records: FromStore
    messages: FromStore


_Selects = Callable[[str], bool]
"""Whether records of a kind are read."""
_Count = Callable[[str, Bounds], Awaitable[int]]


def _all(kind: str) -> bool:
    return True


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
    """

    def __init__(
        self,
        store: RecordStore,
        tail: Tail,
        pages: PageReader,
        access: StoreAccess,
        kinds: Kinds,
    ) -> None:
        self._store = store
        self._tail = tail
        self._pages = pages
        self._access = access
        self._kinds = kinds

    def oldest_kept(self) -> int:
        """The lowest id that has not expired; 0: none expires."""
        return self._pages.oldest_kept()

    async def user_page(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> RecordPage:
        """The oldest records whose audience holds the user."""
        return await self._page(self._of_user(user), bounds, kinds)

    async def channel_page(
        self, channel: str, bounds: Bounds, kinds: AbstractSet[str] | None = None, *, reader: str
    ) -> RecordPage:
        """The oldest records of one conversation, for the user who reads."""
        return await self._page(self._of_channel(channel, reader), bounds, kinds)

    async def count_user(
        self, user: str, bounds: Bounds, kinds: AbstractSet[str] | None = None
    ) -> int:
        """How many records :meth:`user_page` would find, counted up to ``bounds.limit``."""
        source = self._of_user(user)
        if kinds is None:
            return await self._pages.count(
                partial(entries_of, source.records_of, _all),
                source.records,
                partial(self._ask_count, user, self._store.count_user_records),
                bounds,
            )
        if self._are_messages(kinds):
            return await self._pages.count(
                partial(entries_of, source.records_of, self._kinds.counts),
                source.messages,
                partial(self._ask_count, user, self._store.count_user),
                bounds,
            )
        return await self._count_some(source, bounds, kinds)

    async def _count_some(self, source: _Source, bounds: Bounds, kinds: AbstractSet[str]) -> int:
        """Count by looking at records, at most twice as many as are counted or :data:`LOOKED_AT`.

        Beyond that it is the limit: whoever counts does not go on by looking at them one by one.
        """
        count = looked_at = 0
        maximum = max(2 * bounds.limit, LOOKED_AT)
        rest = bounds._replace(newest=False, max_bytes=MAX_PAGE_BYTES)
        while count < bounds.limit:
            if looked_at >= maximum:
                return bounds.limit
            part = await self._part(source, rest, maximum - looked_at)
            count += sum(entry.kind in kinds for entry in part.entries)
            looked_at += len(part.entries)
            if not part.has_more:
                break
            rest = rest._replace(after=part.up_to)
        return min(count, bounds.limit)

    async def _page(
        self, source: _Source, bounds: Bounds, kinds: AbstractSet[str] | None
    ) -> RecordPage:
        if kinds is not None and self._are_messages(kinds):
            return await self._read(source.records_of, self._kinds.counts, source.messages, bounds)
        if kinds is None:
            return await self._read(source.records_of, _all, source.records, bounds)
        return await self._filtered(source, bounds, kinds)

    async def _filtered(
        self, source: _Source, bounds: Bounds, kinds: AbstractSet[str]
    ) -> RecordPage:
        """Some kinds of several: a bounded number of records is looked at, part by part."""
        found: list[Entry] = []
        size = looked_at = 0
        up_to, complete = bounds.after, True
        lost: tuple[int, int] | None = None
        while True:
            part = await self._part(source, bounds._replace(after=up_to), LOOKED_AT - looked_at)
            complete, lost = complete and part.complete, lost or part.lost
            for entry in part.entries:
                if entry.kind in kinds:
                    size += len(entry.body)
                    if len(found) == bounds.limit or (found and size > bounds.max_bytes):
                        return RecordPage(found, up_to, True, complete, lost)
                    found.append(entry)
                up_to = entry.id
            up_to = part.up_to
            looked_at += len(part.entries)
            if not part.has_more or not complete or looked_at >= LOOKED_AT:
                return RecordPage(found, up_to, part.has_more, complete, lost)

    async def _part(self, source: _Source, bounds: Bounds, limit: int) -> RecordPage:
        """The next records of all kinds, not more than may be looked at in one go."""
        await asyncio.sleep(0)  # what is in the tail is looked at without any other wait
        part = bounds._replace(limit=min(limit, _PART), max_bytes=MAX_PAGE_BYTES)
        return await self._read(source.records_of, _all, source.records, part)

    async def _read(
        self, records_of: RecordsOf, selects: _Selects, from_store: FromStore, bounds: Bounds
    ) -> RecordPage:
        assert not bounds.newest
        head = self._tail.head  # before any wait: what comes later is not looked at
        from_tail: FromTail = partial(entries_of, records_of, selects)
        page: Page = await self._pages.page(from_tail, from_store, bounds)
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

    def _of_user(self, user: str) -> _Source:
        store, access = self._store, self._access
        return _Source(
            partial(self._tail.user_page, user),
            lambda bounds: access.ask(user, lambda: store.user_records(user, bounds)),
            lambda bounds: access.ask(user, lambda: store.user_page(user, bounds)),
        )

    def _of_channel(self, channel: str, reader: str) -> _Source:
        store, access = self._store, self._access

        async def records(bounds: Bounds) -> list[Entry]:
            call = partial(store.channel_records, channel, bounds, reader=reader)
            return await access.ask(reader, call)

        return _Source(
            partial(self._tail.channel_page, channel),
            records,
            lambda bounds: access.ask(reader, lambda: store.channel_page(channel, bounds)),
        )
