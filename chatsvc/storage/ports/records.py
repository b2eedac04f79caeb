"""The port by which records of every kind are found: messages, and the changes beside them.

A resume replays them, and a log compares its own with what has their ids in a store.

1. An entry of a message equals that of a page of messages; its ``kind`` is the record's, for a
   change too. A change's body equals, as a JSON value, what was written.
2. Pages are ascending by id, messages and changes in one order, and end as those of
   :mod:`chatsvc.storage.ports.messages` do.
3. Of a kind that is ``latest`` (:mod:`chatsvc.core.kinds`) there is one record for each
   conversation, kind and target: the newest, in whatever order they were written.
"""

from __future__ import annotations

import abc
from typing import Protocol

from chatsvc.core.page import Bounds, Entry


class RecordReader(Protocol):
    """Finding records of every kind; see the module's text."""

    @abc.abstractmethod
    async def get_record(self, record_id: int) -> Entry | None:
        """One record."""

    @abc.abstractmethod
    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        """Records for the user (:mod:`chatsvc.storage.ports.membership`)."""

    @abc.abstractmethod
    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        """Records of one conversation, without those that name others than ``reader``.

        The caller has looked at whether, and which part of it, ``reader`` may read.
        """

    @abc.abstractmethod
    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        """How many :meth:`user_records` would find, counted up to ``bounds.limit``."""
