"""Which users that are connected here the records of a group or a room are for, and their filters.

A user's member channels and filters are read from the log's state when the first of their
connections opens, and followed by the rows in the records from then on. So a delivery costs what
those cost who are here, however many members there are, and nothing is loaded for anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from chatsvc.core.filters import NO_FILTERS, Filters
from chatsvc.core.membership import Interval
from chatsvc.core.record import Record

IntervalsOf = Callable[[str], Sequence[Interval]]
"""The intervals of a user that may hold a record of the tail, as the log's state has them."""

FiltersOf = Callable[[str], Filters]
"""The filters of a user, as the log's state has them."""

_NOBODY: Final[dict[str, None]] = {}
_NOTHING: Final[dict[str, int]] = {}


def no_intervals(_user: str) -> Sequence[Interval]:
    """Nobody is a member of anything."""
    return ()


def no_filters(_user: str) -> Filters:
    """Everybody receives everything."""
    return NO_FILTERS


class Subscriptions:
    """The member channels and filters of connected users; see the module's text.

    ``filters`` has those of the users who have any.

    Args:
        intervals_of: may be ahead of what :meth:`begin` and :meth:`end` were told of.
        filters_of: the same.
        head: the highest id of what they were told of.
    """

    def __init__(
        self,
        intervals_of: IntervalsOf = no_intervals,
        head: Callable[[], int] = lambda: 0,
        filters_of: FiltersOf = no_filters,
    ) -> None:
        self._intervals_of = intervals_of
        self._filters_of = filters_of
        self._head = head
        self.filters: dict[str, Filters] = {}
        # Only those who are members of something; by channel, with which record that began.
        self._users: dict[str, dict[str, int]] = {}
        self._channels: dict[str, dict[str, None]] = {}

    def open(self, user: str) -> None:
        """Follow the channels of a user, of whom there was no connection.

        Raises:
            LogUnavailable: they cannot be read.
        """
        head = self._head()
        filters, intervals = self._filters_of(user), self._intervals_of(user)
        if filters:
            self.filters[user] = filters
        for interval in intervals:
            # One that ends ahead of what was delivered still has the record that ends it. One that
            # begins there comes with the record that begins it: what is before that is not in it.
            if interval.first <= head < interval.last:
                self._add(interval.channel, user, interval.first)

    def close(self, user: str) -> None:
        """Forget a user, who has no connection any more."""
        self.filters.pop(user, None)
        for channel in self._users.pop(user, _NOTHING):
            self._discard_user(channel, user)

    def of(self, channel: str) -> Collection[str]:
        """Return the connected users who receive the records of a member channel. Not a copy."""
        return self._channels.get(channel, _NOBODY)

    def begin(self, record: Record, is_here: Callable[[str], object]) -> None:
        """Add the members that a record brings, for whom it is already, and follow its filters.

        Args:
            is_here: whether a user has a connection.
        """
        assert record.state is not None
        for member in record.state.members:
            if member.is_present and is_here(member.user):
                self._add(record.channel, member.user, member.joined)
        for one in record.state.filters:
            if is_here(one.user):
                known = self.filters.get(one.user, NO_FILTERS)
                self.filters[one.user] = known.with_rows([one])

    def end(self, record: Record) -> None:
        """Remove the members that a record takes away: it was for them still."""
        state, channel = record.state, record.channel
        assert state is not None
        if state.channel is not None and state.channel.dissolved:
            for user in list(self.of(channel)):
                self._remove(channel, user)
            return
        for member in state.members:
            began = self._users.get(member.user, _NOTHING).get(channel)
            # A record that got another place may say how an earlier membership ended.
            if began is not None and not member.is_present and member.joined >= began:
                self._remove(channel, member.user)

    def _add(self, channel: str, user: str, began: int) -> None:
        channels = self._users.setdefault(user, {})
        channels[channel] = max(channels.get(channel, 0), began)
        self._channels.setdefault(channel, {})[user] = None

    def _remove(self, channel: str, user: str) -> None:
        channels = self._users[user]
        del channels[channel]
        if not channels:
            del self._users[user]
        self._discard_user(channel, user)

    def _discard_user(self, channel: str, user: str) -> None:
        users = self._channels[channel]
        del users[user]
        if not users:
            del self._channels[channel]
