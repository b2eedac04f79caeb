"""The log's own state: who is a member of what, and what a user does not receive.

The rows are those of :mod:`chatsvc.core.membership`, kept beside the records and written with
them. What is read may be a commit ahead of the tail's head: of one whose callers have no answer
yet. A decision names the head as its position all the same: what is ahead of it has touched its
keys, so the guard finds it (``log/guards.py``).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Protocol

from chatsvc.core.membership import Channel, Filter, Interval, Member


class LogState(Protocol):
    """Reading the state. Every method answers at once, from what is on this machine.

    Every method raises :class:`~chatsvc.core.errors.LogUnavailable` where the rows cannot be read.
    """

    @abc.abstractmethod
    def member(self, channel: str, user: str) -> Member | None:
        """The newest membership of a person in a channel, which may have ended."""

    @abc.abstractmethod
    def channel(self, channel: str) -> Channel | None:
        """What is known of a member channel as a whole; ``None``: there never was one."""

    @abc.abstractmethod
    def intervals(self, user: str) -> Sequence[Interval]:
        """Those of a user that may hold a record of the tail.

        All that go on, and those that ended above the tail's floor.
        """

    @abc.abstractmethod
    def filters(self, user: str) -> Sequence[Filter]:
        """What a user does not receive."""
