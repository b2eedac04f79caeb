"""The ports by which messages are written, read and deleted.

1. When :meth:`MessageWriter.write` returns, every record that is not among the rejections is
   stored durably.
2. Writing the same record again is success and changes nothing. The same id with another
   digest, channel, sender or client_id is a rejection.
3. After :class:`~chatsvc.core.errors.StoreUnavailable` any part of the batch may have been
   stored.
4. A page is ascending by id, and its bodies equal, as JSON values, what was written. It ends
   with the entry that takes it beyond ``max_bytes``, and what lies behind that entry is not read
   into memory, but for a batch of what the database sends at once.
5. Records of a kind that does not count (:mod:`chatsvc.core.kinds`) are changes: they are
   written in the same batch, and found by :mod:`chatsvc.storage.ports.records` alone. Messages
   and changes share their ids.
6. Which records of groups and rooms are for a user, :mod:`chatsvc.storage.ports.membership` says.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record


class Rejection(NamedTuple):
    """A record that the store will never take; ``code`` is stable, ``reason`` is for people."""

    record: Record
    code: str
    reason: str


class MessageWriter(Protocol):
    """Storing; see the module's text."""

    @abc.abstractmethod
    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        """Store a batch, ascending by id, with its conversations.

        The rows that the records change (:mod:`chatsvc.storage.ports.membership`) are stored with
        them, also those of records that are rejected.
        """


class MessageReader(Protocol):
    """Finding; see the module's text."""

    @abc.abstractmethod
    async def head(self) -> int:
        """The highest id of a record stored, messages and changes, 0 if there is none."""

    @abc.abstractmethod
    async def get(self, message_id: int) -> Entry | None:
        """One message."""

    @abc.abstractmethod
    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        """Messages of one conversation, without those that name whom they are for."""

    @abc.abstractmethod
    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        """Messages for the user."""

    @abc.abstractmethod
    async def count_user(self, user: str, bounds: Bounds) -> int:
        """How many :meth:`user_page` would find, counted up to ``bounds.limit``."""


class MessagePurger(Protocol):
    """Deleting what is too old."""

    @abc.abstractmethod
    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        """Delete the oldest records below ``before_id``, at most ``limit``; how many went.

        Messages and changes. A conversation goes with its newest message. Call again until it
        returns 0.
        """
