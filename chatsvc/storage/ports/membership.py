"""The ports by which a store keeps the log's own state: members, channels and filters.

The log decides by its own rows, and they are in the envelope of each record that changes them
(:class:`~chatsvc.core.membership.StateChange`). A store folds them, in the transaction or batch
of their record, into rows of its own:

1. Each row has a ``rev``, the id of the record that changed it last. A row is replaced only by
   one of a higher ``rev``, in whatever order records are written, and however often.
2. Rows are folded of every record of a batch, also of one that is rejected or put aside as a dead
   letter: the state is the log's whatever becomes of the record.
3. A store keeps every interval of a membership; the log keeps those that matter to its tail.
4. Retention deletes records, never rows.

What pages of a user have of member channels follows from the rows: a record without an audience
is a user's if one of the user's intervals in its channel holds its id, and a record with one is
the users' whom it names (:mod:`chatsvc.core.membership`).
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Protocol

from chatsvc.core.membership import Interval
from chatsvc.core.state_rows import StatePage, StateRow


class StateReader(Protocol):
    """Reading the rows; see the module's text."""

    @abc.abstractmethod
    async def intervals(self, user: str, channel: str) -> list[Interval]:
        """Every interval of a user in one channel, ascending. A channel's end is their end."""

    @abc.abstractmethod
    async def state_page(self, after: str, limit: int) -> StatePage:
        """Rows of every sort in a fixed order, at most ``limit``, for a log that lost its own.

        Args:
            after: ``""``, or that of the page before; its form is the store's own.
        """


class StateWriter(Protocol):
    """Writing rows beside records; see the module's text."""

    @abc.abstractmethod
    async def put_state(self, rows: Sequence[StateRow]) -> None:
        """Store rows of a log whose records the store may lack; as rule 1 says."""
