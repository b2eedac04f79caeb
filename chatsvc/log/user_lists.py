"""The tail's records by user: what a user's pages and resumes are read from.

Records to few have an entry in the list of each. Records to many are in the list of their
conversation alone, which is noted once with each of its users: a further record costs nothing for
them, and a page of theirs is a merge.

Records of a group or a room are in the list of their channel alone, and noted with nobody: whoever
reads says of which ids of which channels. One that names readers has an entry in the list of each.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import islice
from typing import Final

from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.log.backlog import LIST_BYTES
from chatsvc.log.record_list import Part, RecordList, merged_page

NOTE_BYTES: Final = 80
"""Bytes of memory of a note of a conversation with a user: the first of a user takes 112, as
measured, a further one 10. One number for both, or what is counted would depend on which of them
goes first."""


class UserLists:
    """Lists by user; see the module's text. Every method returns bytes of memory where it says."""

    def __init__(self) -> None:
        self._own: dict[str, RecordList] = {}
        # By address, so that one is found among a user's many without looking at the others.
        self._noted: dict[str, list[RecordList]] = {}

    def add(self, record: Record) -> int:
        """Add a record to the lists of its users; return the bytes of new lists."""
        cost = 0
        own = self._own
        for user in record.audience:
            found = own.get(user)
            if found is None:
                found = own[user] = RecordList()
                cost += LIST_BYTES
            found.items.append(record)
        return cost

    def note(self, conversation: RecordList, users: tuple[str, ...]) -> int:
        """Let these users read the list of a conversation; return the bytes of the notes.

        Where others read it already, each reads only the records whose audience holds them.
        """
        noted = self._noted
        if conversation.readers:
            conversation.mixed = True
            users = tuple(sorted(set(users).difference(conversation.readers)))
        conversation.readers += users
        for user in users:
            lists = noted.get(user)
            if lists is None:
                noted[user] = [conversation]
            else:
                insort(lists, conversation, key=id)
        return NOTE_BYTES * len(users)

    def forget(self, conversation: RecordList) -> None:
        """Take back :meth:`note`; the bytes that it returned go with the conversation's list."""
        noted = self._noted
        for user in conversation.readers:
            lists = noted[user]
            del lists[bisect_left(lists, id(conversation), key=id)]
            if not lists:
                del noted[user]

    def drop_first(self, record: Record) -> int:
        """Take the oldest record of all off the lists; return the bytes of lists that end."""
        freed = 0
        for user in record.audience:
            own = self._own[user]
            if own.drop_first():
                del self._own[user]
                freed += own.cost
        return freed

    def remove(self, record: Record) -> int:
        """Take any record off the lists; return the bytes of lists that end."""
        freed = 0
        for user in record.audience:
            own = self._own[user]
            own.remove(record.id)
            if not len(own):
                del self._own[user]
                freed += own.cost
        return freed

    def __contains__(self, user: str) -> bool:
        """Whether a record of the user's is here."""
        return user in self._own or user in self._noted

    def page(self, user: str, bounds: Bounds, parts: Sequence[Part] = ()) -> list[Record]:
        """The user's records, ascending.

        Args:
            parts: of other lists what is the user's too, within the bounds.
        """
        own, noted = self._own.get(user), self._noted.get(user)
        if noted is None and not parts:
            return own.page(bounds) if own is not None else []
        lists = noted or ()
        return merged_page(user, lists if own is None else [own, *lists], bounds, parts)

    def named_in(self, channel: str, user: str, bounds: Bounds) -> list[Record]:
        """Records of a group or a room that name the user, ascending: up to the bounds' limit."""
        own = self._own.get(user)
        if own is None:
            return []
        low, high = own.range(bounds.after, bounds.before)
        places = range(high - 1, low - 1, -1) if bounds.newest else range(low, high)
        records = map(own.items.__getitem__, places)
        found = (one for one in records if one.channel == channel)
        page = list(islice(found, max(bounds.limit, 0)))
        return page[::-1] if bounds.newest else page
