"""Rows of the log's own state that contradict each other, and the rows that do not.

Rows that are adopted need not be of one past, nor whole: the log and the store may each have begun
a membership, and a store without transactions may have a part of the rows of a batch whose rest
went with the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from chatsvc.core.membership import Channel
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow


class StateRepair:
    """Goes through all rows once.

    Memberships by user, channel and ``joined``, then channels, then filters by user, sort, what
    they are of, and ``since``:

    1. A membership ends before the next of the same person in the same channel begins. One end
       that follows would otherwise end only one of them.
    2. A channel has the number of its members.
    3. A filter without an end ends where the next of the same thing begins: no id is hidden less,
       and one end that follows ends both.

    A repaired row has a ``rev`` of its own, just above that of the row: no record has it.
    """

    def __init__(self) -> None:
        self._before: MemberRow | None = None
        self._filter_before: FilterRow | None = None
        self._counts: Counter[str] = Counter()
        self._revs: dict[str, int] = {}
        """The highest of its memberships, of channels of which no row has come yet."""

    def repaired(self, rows: Sequence[StateRow]) -> list[StateRow]:
        """Return the rows that replace some of these, or of those before.

        Args:
            rows: the next page.
        """
        found: list[StateRow] = []
        for row in rows:
            if isinstance(row, MemberRow):
                found += self._of_member(row)
            elif isinstance(row, ChannelRow):
                found += self._of_channel(row)
            else:
                found += self._of_filter(row)
        return found

    def missing(self) -> list[StateRow]:
        """Return rows of the channels that have members and no row, once all pages have come."""
        return [
            ChannelRow(channel, Channel(self._counts[channel]), rev)
            for channel, rev in self._revs.items()
        ]

    def _of_member(self, row: MemberRow) -> list[StateRow]:
        channel, member, rev = row
        if not member.joined:
            return []
        before, self._before = self._before, row
        self._counts[channel] += member.is_present
        self._revs[channel] = max(rev, self._revs.get(channel, 0))
        if before is None or (before.channel, before.member.user) != (channel, member.user):
            return []
        if before.member.left and before.member.left < member.joined:
            return []
        self._counts[channel] -= before.member.is_present
        ended = msgspec.structs.replace(before.member, left=member.joined - 1)
        return [MemberRow(channel, ended, max(before.rev, rev) + 1)]

    def _of_channel(self, row: ChannelRow) -> list[StateRow]:
        channel, state, rev = row
        self._revs.pop(channel, None)
        count = 0 if state.dissolved else self._counts[channel]
        if count == state.count:
            return []
        return [ChannelRow(channel, msgspec.structs.replace(state, count=count), rev + 1)]

    def _of_filter(self, row: FilterRow) -> list[StateRow]:
        before, self._filter_before = self._filter_before, row
        if before is None or before.filter.until:
            return []
        one, following = before.filter, row.filter
        if (one.user, one.sort, one.of) != (following.user, following.sort, following.of):
            return []
        ended = msgspec.structs.replace(one, until=following.since)
        return [FilterRow(ended, max(before.rev, row.rev) + 1)]
