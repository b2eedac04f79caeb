"""Where records of a user or of a conversation are read: the tail, and the store."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from chatsvc.core.kinds import Kinds
from chatsvc.core.page import Bounds, Entry
from chatsvc.log.tail import Tail
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.pages import RecordsOf, Source
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.ports.records import RecordReader


class RecordStore(MessageReader, RecordReader, Protocol):
    """A store, as far as records are read from it."""


class Sources:
    """Sources of messages, and of records of every kind.

    Args:
        store: asked by ``access``.
        tail: the log's.
        access: by which the store is asked, in the turn of the user who reads.
        kinds: those that this program knows.
        memberships: who is, and was, in which groups and rooms.
    """

    def __init__(
        self,
        store: RecordStore,
        tail: Tail,
        access: StoreAccess,
        kinds: Kinds,
        memberships: Memberships,
    ) -> None:
        self._store = store
        self._tail = tail
        self._access = access
        self._counts = kinds.counts
        self._memberships = memberships

    def user_messages(self, user: str) -> Source:
        """Messages for a user, over all conversations."""

        async def from_store(bounds: Bounds) -> list[Entry]:
            return await self._access.ask(user, lambda: self._store.user_page(user, bounds))

        return Source(partial(self._tail_of, user), self._counts, from_store)

    def user_records(self, user: str) -> Source:
        """Records for a user, over all conversations."""

        async def from_store(bounds: Bounds) -> list[Entry]:
            return await self._access.ask(user, lambda: self._store.user_records(user, bounds))

        return Source(partial(self._tail_of, user), _every_kind, from_store)

    def channel_messages(self, channel: str, reader: str) -> Source:
        """Messages of one conversation, for the user who reads."""

        async def open_tail() -> RecordsOf:
            return partial(self._tail.channel_page, channel)

        async def from_store(bounds: Bounds) -> list[Entry]:
            call = partial(self._store.channel_page, channel, bounds)
            return await self._access.ask(reader, call)

        return Source(open_tail, self._counts, from_store)

    def channel_records(self, channel: str, reader: str) -> Source:
        """Records of one conversation, for the user who reads."""

        async def open_tail() -> RecordsOf:
            return partial(self._tail.channel_records, channel, reader=reader)

        async def from_store(bounds: Bounds) -> list[Entry]:
            call = partial(self._store.channel_records, channel, bounds, reader=reader)
            return await self._access.ask(reader, call)

        return Source(open_tail, _every_kind, from_store)

    async def _tail_of(self, user: str) -> RecordsOf:
        intervals = await self._memberships.intervals(user)
        return partial(self._tail.user_page, user, intervals=intervals)


def _every_kind(kind: str) -> bool:
    return True
