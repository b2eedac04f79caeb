"""The ports by which a store keeps the rows of projections.

1. A write folds the records that it stores, and none that it rejects, in their transaction or
   before the store's watermark can pass them. A record that a projection cannot fold is rejected
   as ``fold_failed``.
2. Rows are the same whatever the order, the repetition and the batches in which records came, and
   whether one process wrote them or two did (:mod:`chatsvc.core.projection`).
3. A projection has a *position*: every record up to it is folded. It is stored with the rows, or
   after them, and moves with each write, also of records that are rejected, unless it is below
   the store's watermark or below another record that the store has beneath the batch: then
   the records up to there are yet to be folded from the store's own
   (:mod:`chatsvc.storage.projections.builder`), while new ones are folded as they come.
4. A projection that is not there, or was declared otherwise, begins anew at position 0 when the
   store is opened.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from chatsvc.core.projection import Key
from chatsvc.core.record import Record
from chatsvc.storage.projections.row_state import Changes, RowState


class StoredRows(NamedTuple):
    """Rows as they are stored, hidden ones included, and a position to which they are folded.

    They may be folded further than that.
    """

    position: int
    rows: list[tuple[Key, RowState]]


class KeptProjection(NamedTuple):
    """What a store has of a projection: by which declaration, and folded up to where."""

    declared: str
    position: int


class ProjectionReader(Protocol):
    """Reading rows of a projection, given by its name."""

    @abc.abstractmethod
    async def position(self, name: str) -> int:
        """The position to which the rows are folded at least."""

    @abc.abstractmethod
    async def get(self, name: str, key: Key) -> StoredRows:
        """One row, if it is there."""

    @abc.abstractmethod
    async def page(self, name: str, prefix: Key, after: Key | None, limit: int) -> StoredRows:
        """Rows whose keys begin with a prefix, ascending by key.

        Args:
            prefix: of any number of columns; with none every row is one.
            after: the whole key of the last row that is left out; ``None``: from the first on.
            limit: how many at most, hidden ones included.
        """


class ProjectionBuilding(Protocol):
    """Folding the records that a store has already."""

    @abc.abstractmethod
    async def position(self, name: str) -> int:
        """As that of :class:`ProjectionReader`."""

    @abc.abstractmethod
    async def catch_up(self, name: str, changes: Changes, after: int, up_to: int) -> None:
        """Write what the records above ``after`` change, up to ``up_to``, and move the position.

        The position moves only if it was at ``after`` or above.
        """

    @abc.abstractmethod
    async def begin_anew(self, name: str) -> None:
        """Drop the rows; the position is 0 afterwards."""

    @abc.abstractmethod
    async def purge(self, before_id: int, limit: int) -> int:
        """Forget removals of records below an id, at most ``limit``; how many went.

        No record below it must come again. Those of a projection that is being built stay. What
        a removal hides of a maximum stays hidden. Call again until it returns 0.
        """


class ProjectionStore(ProjectionReader, ProjectionBuilding, Protocol):
    """Everything that an adapter does with projections beside writing records."""

    @abc.abstractmethod
    async def kept(self) -> Mapping[str, KeptProjection]:
        """What the store has of every projection, by name.

        Also of those of other programs, and of those that the store was opened without.
        """


class HasProjections(Protocol):
    """A store with the rows of its projections."""

    projections: ProjectionStore


class RecordScan(Protocol):
    """Reading the records that a store has, for what has to fold them from the beginning."""

    @abc.abstractmethod
    async def scan(self, after: int, up_to: int, limit: int, max_bytes: int) -> Sequence[Record]:
        """The oldest records above ``after``, up to and with ``up_to``, ascending; of all kinds.

        Fewer than ``limit`` if their bodies have together more than ``max_bytes``; none where
        there are none.

        Of a kind that is ``latest`` the newest are there. ``touches``, ``state`` and ``keys``
        are empty, and bodies equal what was written as JSON values.
        """
