"""Rows of projections in memory: every change that ever came, put together plainly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chatsvc.core.projection import Key, Projections
from chatsvc.core.record import Record
from chatsvc.storage.ports.projections import KeptProjection, ProjectionStore, StoredRows
from chatsvc.storage.projections.folding import FoldedBatch
from chatsvc.storage.projections.live_range import LiveRange, extended
from chatsvc.storage.projections.row_state import Changes, RowState


@dataclass
class MemoryRows:
    """The rows of one projection."""

    declared: str
    position: int = 0
    changes: Changes = field(default_factory=Changes)
    live: LiveRange | None = None

    def join(self, changes: Changes) -> None:
        for prefix, rev in changes.removed.items():
            self.changes.removed[prefix] = max(rev, self.changes.removed.get(prefix, 0))
        states = self.changes.states
        for key, state in changes.states.items():
            states[key] = states.get(key, RowState()).joined(state)
        self.changes.states = self.changes.left({})

    def settle(self, live: LiveRange) -> None:
        if self.position >= live.after:
            self.position = max(self.position, live.up_to)


class MemoryProjections(ProjectionStore):
    """Kept in dicts.

    Args:
        projections: their declarations.
        check: raises where the store is unavailable.
        watermark: the store's.
    """

    def __init__(
        self,
        projections: Projections,
        check: Callable[[], None],
        watermark: Callable[[], int],
    ) -> None:
        self._projections = projections
        self._check = check
        self._watermark = watermark
        self.rows: dict[str, MemoryRows] = {}

    def open(self, rows: dict[str, MemoryRows]) -> None:
        """Over what is on a disk."""
        self.rows = rows
        for one in self._projections:
            if one.name not in rows or rows[one.name].declared != one.declared:
                rows[one.name] = MemoryRows(one.declared)

    def fold(self, records: Sequence[Record]) -> FoldedBatch:
        return FoldedBatch(self._projections, records)

    def write(
        self, changes: dict[str, Changes], records: Sequence[Record], stored: Iterable[int]
    ) -> None:
        """``stored`` are the ids of all records in the store."""
        first, last = records[0].id, records[-1].id
        begin = max([self._watermark(), *(one for one in stored if one < first)])
        for one in self._projections:
            rows = self.rows[one.name]
            rows.join(changes.get(one.name, Changes()))
            rows.live = extended(rows.live, begin, last)
            rows.settle(rows.live)

    async def position(self, name: str) -> int:
        self._check()
        return self.rows[name].position

    async def get(self, name: str, key: Key) -> StoredRows:
        self._check()
        rows = self.rows[name]
        states = rows.changes.states
        return StoredRows(rows.position, [(key, states[key])] if key in states else [])

    async def page(self, name: str, prefix: Key, after: Key | None, limit: int) -> StoredRows:
        self._check()
        rows = self.rows[name]
        found = [
            (key, state)
            for key, state in sorted(rows.changes.states.items())
            if key[: len(prefix)] == prefix and (after is None or key > after)
        ]
        return StoredRows(rows.position, found[:limit])

    async def catch_up(self, name: str, changes: Changes, after: int, up_to: int) -> None:
        self._check()
        rows = self.rows[name]
        rows.join(changes)
        rows.settle(LiveRange(after, up_to))
        if rows.live is not None and self._watermark() >= rows.live.up_to:
            rows.settle(rows.live)

    async def begin_anew(self, name: str) -> None:
        self._check()
        self.rows[name] = MemoryRows(self._projections[name].declared)

    async def kept(self) -> Mapping[str, KeptProjection]:
        self._check()
        return {
            name: KeptProjection(rows.declared, rows.position) for name, rows in self.rows.items()
        }

    async def purge(self, before_id: int, limit: int) -> int:
        self._check()
        old = [
            (rows, prefix)
            for rows in self.rows.values()
            if rows.position >= self._watermark()
            for prefix, rev in rows.changes.removed.items()
            if rev < before_id
        ]
        for rows, prefix in old[:limit]:
            del rows.changes.removed[prefix]
        return len(old[:limit])
