"""A user's conversations in the log's tail, by their newest message.

The tail lists a user's records. Going through all of them for each listing would cost what the
unsaved backlog is long, on the loop; so what was gone through is kept, for those who list, and
only newer records are added to it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from chatsvc.core.audience import names_readers
from chatsvc.core.kinds import Kinds
from chatsvc.core.membership import Interval
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.memberships import NO_MEMBERSHIPS, Memberships

USERS: Final = 256
ENTRIES: Final = 500_000
_SLICE: Final = 1000
"""Records between two turns of the loop."""


Hidden = Mapping[str, Sequence[Interval]]
"""By channel: intervals of a user of which pages do not show the beginning."""


def _hidden(intervals: Sequence[Interval]) -> Hidden:
    hidden: dict[str, list[Interval]] = {}
    for one in intervals:
        if one.visible_from > one.first:
            hidden.setdefault(one.channel, []).append(one)
    return hidden


def _is_hidden(record: Record, hidden: Hidden) -> bool:
    intervals = hidden.get(record.channel, ())
    return any(one.holds(record.id) and record.id < one.visible_from for one in intervals)


class UserConversations:
    """Channels of one user, the one with the newest message last.

    Args:
        kinds: records of those that count are messages.
    """

    def __init__(self, kinds: Kinds = MESSAGES_ONLY) -> None:
        self._counts = kinds.counts
        self.up_to = 0
        self.newest: OrderedDict[str, int] = OrderedDict()
        self.readers = 0

    def newest_in(self, channel: str) -> int:
        """The id of the channel's newest message, 0 if there is none."""
        return self.newest.get(channel, 0)

    def page(self, tail: Tail, *, above: int, before: int, limit: int) -> list[Record]:
        """The newest first: at most ``limit`` between the bounds, both exclusive."""
        found: list[Record] = []
        for message_id in reversed(self.newest.values()):
            if message_id <= above or len(found) >= limit:
                break
            if message_id < before:
                record = tail.get(message_id)
                if record is not None:
                    found.append(record)
        return found

    def add(self, records: list[Record], hidden: Hidden) -> None:
        """Newer ones, ascending. Those that are hidden, or name readers, move nothing up."""
        newest = self.newest
        for record in records:
            if (
                self._counts(record.kind)
                and not names_readers(record.channel, record.audience)
                and not (hidden and _is_hidden(record, hidden))
            ):
                newest[record.channel] = record.id
                newest.move_to_end(record.channel)
        if records:
            self.up_to = records[-1].id

    def forget(self, floor: int) -> None:
        """What the tail has let go of."""
        newest = self.newest
        while newest and next(iter(newest.values())) <= floor:
            newest.popitem(last=False)


class TailConversations:
    """The conversations of the tail, kept for the users who listed theirs last.

    Args:
        tail: the log's.
        users: how many users are kept; the one who listed last stays longest.
        entries: how many conversations are kept, of all of them.
        kinds: records of those that count are messages.
        memberships: which ids of groups and rooms are for a user.
    """

    def __init__(
        self,
        tail: Tail,
        *,
        users: int = USERS,
        entries: int = ENTRIES,
        kinds: Kinds = MESSAGES_ONLY,
        memberships: Memberships = NO_MEMBERSHIPS,
    ) -> None:
        self._kinds = kinds
        self._memberships = memberships
        self._tail = tail
        self._max_users = users
        self._max_entries = entries
        self._users: OrderedDict[str, UserConversations] = OrderedDict()

    @contextmanager
    def of(self, user: str) -> Iterator[UserConversations]:
        """The conversations of one user, kept while they are held. :meth:`refresh` them first."""
        found = self._users.get(user)
        if found is None:
            found = self._users[user] = UserConversations(self._kinds)
        self._users.move_to_end(user)
        found.readers += 1
        try:
            yield found
        finally:
            found.readers -= 1
            self._bound()

    async def refresh(self, user: str, conversations: UserConversations) -> None:
        """Up to the tail's head, which does not move between the return and the next wait."""
        tail = self._tail
        if conversations.readers == 1:
            conversations.forget(tail.floor)
        while True:
            intervals = await self._memberships.intervals(user)  # as of what is read behind it
            after = max(conversations.up_to, tail.floor)
            bounds = Bounds(_SLICE, after=after, newest=False, max_bytes=NO_BYTE_BOUND)
            records = tail.user_page(user, bounds, intervals)
            conversations.add(records, _hidden(intervals))
            if len(records) < _SLICE:
                conversations.up_to = max(conversations.up_to, tail.head)
                return
            await asyncio.sleep(0)

    def _bound(self) -> None:
        size = sum(len(one.newest) for one in self._users.values())
        for user, one in list(self._users.items()):
            if len(self._users) <= self._max_users and size <= self._max_entries:
                return
            if not one.readers:
                size -= len(one.newest)
                del self._users[user]

    def __len__(self) -> int:
        return len(self._users)
