"""The log's own state: who is a member of what, and what a user does not receive.

The rows are those of :mod:`chatsvc.core.membership`, kept beside the records and written with
them. What is read may be a commit ahead of the tail's head: of one whose callers have no answer
yet. A decision names the head as its position all the same: what is ahead of it has touched its
keys, so the guard finds it (``log/guards.py``).
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.filters import Filters
from chatsvc.core.membership import Channel, Interval, Member
from chatsvc.core.state_rows import ChannelRow, MemberRow, StatePage, StateRow

ADOPTING: Final = "adopting"
"""The code of :func:`adopting`."""


def adopting() -> LogUnavailable:
    """Return the error of whoever needs a state that is being read from the store."""
    return LogUnavailable(
        "who is a member of what is being read from the database", code="adopting", retry_after=1.0
    )


class StateDue(enum.StrEnum):
    """What has to be done to the state, after the log was attached to a store."""

    NOTHING = ""
    ADOPTION = "adoption"
    """The store has seen what this log has not: its rows replace the log's."""
    REWRITING = "rewriting"
    """The store may lack what this log has: it gets the log's rows."""


class MemberPage(NamedTuple):
    """Members of a channel in the order of ``(joined, user)``.

    ``after`` is the place from which to go on, as a ``joined`` and a user's id; ``None`` where
    nobody is behind these.
    """

    members: Sequence[Member]
    after: tuple[int, str] | None


class LogState(Protocol):
    """Reading the state. Every method answers at once, from what is on this machine.

    Every method raises :class:`~chatsvc.core.errors.LogUnavailable` where the rows cannot be read;
    with the code :data:`ADOPTING` until they were read from the store.
    """

    @abc.abstractmethod
    def on_adopted(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call each time when rows were read from the store: all may be others.

        Until it has returned, intervals and filters are read, and nothing is decided: no record
        for members is accepted that the caller would miss.
        """

    @abc.abstractmethod
    def member(self, channel: str, user: str) -> Member | None:
        """The newest membership of a person in a channel, which may have ended."""

    @abc.abstractmethod
    def channel(self, channel: str) -> Channel | None:
        """What is known of a member channel as a whole; ``None``: there never was one."""

    @abc.abstractmethod
    def channel_row(self, channel: str) -> ChannelRow | None:
        """What :meth:`channel` says, with the id of the record that changed it last."""

    @abc.abstractmethod
    def members_page(self, channel: str, after: tuple[int, str], limit: int) -> MemberPage:
        """The memberships of a channel that go on, in the order of ``(joined, user)``.

        There are none in a dissolved channel. Who leaves and joins again between two pages may
        be on both: the place is that of the newest join.

        Args:
            after: ``(0, "")``, or that of the page before; any other place will do. Those on
                the page are strictly behind it.
            limit: how many rows are looked at, at least 1. Those that ended count until they are
                dropped, so that a page may have fewer members, or none, and others behind it.
        """

    @abc.abstractmethod
    def memberships(self, user: str) -> Sequence[MemberRow]:
        """The newest row of a user in each channel, by channel.

        Also of channels in which the user never was a member, or is not any more, as long as the
        row is kept: it may say that the user is banned, or has a role without being there.
        """

    @abc.abstractmethod
    def intervals(self, user: str) -> Sequence[Interval]:
        """Those of a user that may hold a record of the tail.

        All that go on, and those that ended above the tail's floor. None in a log that has
        never met a store: nothing in it is for members.
        """

    @abc.abstractmethod
    def intervals_in(self, user: str, channel: str) -> Sequence[Interval]:
        """Those of one channel, ascending."""

    @abc.abstractmethod
    def filters(self, user: str) -> Filters:
        """What a user does not receive.

        By ids: a row that is ahead of the head hides nothing below its own id. Unlike intervals,
        which a log without a store has none of, they may hide what only a store has.
        """


class StateExchange(abc.ABC):
    """The state as log and store hand it to each other: see :class:`StateDue`.

    While rows are adopted, nothing is appended that changes any.
    """

    @property
    @abc.abstractmethod
    def state_due(self) -> StateDue:
        """What is to be done. It is remembered over the end of the process."""

    @abc.abstractmethod
    async def begin_adoption(self) -> None:
        """Drop all rows."""

    @abc.abstractmethod
    async def adopt(self, rows: Sequence[StateRow]) -> None:
        """Take rows of the store; of two of one key the one with the higher ``rev`` stays."""

    @abc.abstractmethod
    async def end_adoption(self) -> None:
        """Fold the log's own records above what the store has on top.

        Rows that contradict each other then are replaced (``log/state_repair.py``). Where any of
        this changes a row, the store is to get the rows. Else nothing is due then.
        """

    @abc.abstractmethod
    async def state_page(self, after: str, limit: int) -> StatePage:
        """Rows of every sort in a fixed order, at most ``limit``.

        Args:
            after: ``""``, or that of the page before.
        """

    @abc.abstractmethod
    async def end_rewriting(self) -> None:
        """The store has the rows. Nothing is due then."""
