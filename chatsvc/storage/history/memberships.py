"""The port by which history learns which ids are for a user: memberships and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from chatsvc.core.filters import NO_FILTERS, Filters
from chatsvc.core.membership import Interval


class ChannelIntervals(NamedTuple):
    """A user's intervals in one channel.

    Args:
        known: ascending.
        unknown: ``(after, up_to)`` of ids that may be in others, which only the store has, and
            does not answer now, or has yet to be given again.
    """

    known: Sequence[Interval]
    unknown: tuple[int, int] | None = None


class Memberships(Protocol):
    """A user's intervals.

    An answer is as of the step of the loop in which it returns, at least up to the tail's head:
    whoever asks reads the tail in the same step.
    """

    async def intervals(self, user: str) -> Sequence[Interval]:
        """Return every interval of a user that may hold a record of the tail.

        Those that go on, and those that ended above the tail's floor.

        Raises:
            LogUnavailable: they cannot be read now.
        """

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        """Return all of a user's intervals in one channel, also those long ended.

        None, after the same work, for a channel that does not exist and for one of others.

        Raises:
            LogUnavailable: they cannot be read now.
            StoreUnavailable: nor those that only the store has, and there are no others.
            HistoryBusy: too many reads wait for it.
        """

    async def filters(self, user: str) -> Filters:
        """Return what a user does not receive.

        Raises:
            LogUnavailable: it cannot be read now.
        """


class _NoMemberships:
    """Nobody is in a group or a room, and everybody receives everything."""

    async def intervals(self, user: str) -> Sequence[Interval]:
        return ()

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        return ChannelIntervals(())

    async def filters(self, user: str) -> Filters:
        return NO_FILTERS


NO_MEMBERSHIPS: Final[Memberships] = _NoMemberships()
"""Of a service without groups and rooms."""
