"""Rows of projections in the embedded store, written in the transaction of their records.

Another process may begin a projection anew. It makes the table again, by which the version of the
file's schema changes, also for whoever has the file open: what was folded under another schema is
not counted for the rows that are there now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from chatsvc.core.projection import NO_PROJECTIONS, Key, Projections
from chatsvc.core.record import Record
from chatsvc.storage.ports.projections import KeptProjection, ProjectionStore, StoredRows
from chatsvc.storage.projections.folding import FoldedBatch
from chatsvc.storage.projections.live_range import LiveRange, begins_at_once, extended
from chatsvc.storage.projections.row_state import Changes, RowState
from chatsvc.storage.sqlite import messages
from chatsvc.storage.sqlite.projection_tables import ProjectionTable, kept, make_shared
from chatsvc.storage.sqlite.statements import (
    MAX_ROW_ID,
    NAMED,
    json_list,
    snapshot,
    transaction,
)
from chatsvc.storage.sqlite.threads import SqliteThreads
from chatsvc.storage.sqlite.watermark import watermark


class LiveRows(NamedTuple):
    """What was folded as it was stored, and the version of the schema under which it was."""

    schema: int
    range: LiveRange


class ProjectionWrites:
    """Writes rows, each time within a transaction of the thread that writes.

    Args:
        projections: their declarations.
    """

    def __init__(self, projections: Projections = NO_PROJECTIONS) -> None:
        self._projections = projections
        self.tables = {one.name: ProjectionTable(one) for one in projections}
        self._names = json_list(sorted(self.tables))
        self._live: LiveRows | None = None

    def make(self, db: sqlite3.Connection) -> None:
        """Make the tables that are not there yet, or were declared otherwise."""
        self._live = None  # it may be another file
        if not self.tables:
            return
        with transaction(db):
            make_shared(db)
            held = dict(db.execute("SELECT name, declared FROM projections").fetchall())
            for name, table in self.tables.items():
                if held.get(name) != table.projection.declared or not table.is_there(db):
                    table.make_anew(db)

    def fold(self, records: Sequence[Record]) -> FoldedBatch:
        """Fold records that are about to be written."""
        return FoldedBatch(self._projections, records)

    def write(
        self, db: sqlite3.Connection, changes: Mapping[str, Changes], records: Sequence[Record]
    ) -> LiveRows | None:
        """Write what a batch changes and move positions, in the transaction of its records.

        Args:
            changes: by projection.
            records: the batch.

        Returns:
            What :meth:`committed` is called with afterwards.
        """
        if not self.tables:
            return None
        for name, changed in changes.items():
            self.tables[name].write(db, changed)
        begin, first = _watermark(db), records[0].id
        before = self._live_of_these_rows(db)
        if not begins_at_once(before, begin, first):
            begin = max(begin, messages.newest_up_to(db, first - 1))
        live = extended(before, begin, records[-1].id)
        self._settle(db, live)
        return LiveRows(_schema(db), live)

    def committed(self, live: LiveRows | None) -> None:
        """Note that the transaction was committed."""
        self._live = live

    def catch_up(
        self, db: sqlite3.Connection, name: str, changes: Changes, after: int, up_to: int
    ) -> None:
        """See :meth:`~chatsvc.storage.ports.projections.ProjectionBuilding.catch_up`."""
        with transaction(db):
            self.tables[name].write(db, changes)
            db.execute(
                "UPDATE projections SET position = max(position, ?)"
                " WHERE name = ? AND position >= ?",
                (up_to, name, after),
            )
            live = self._live_of_these_rows(db)
            if live is not None and _watermark(db) >= live.up_to:
                self._settle(db, live)  # not where the store was put back

    def begin_anew(self, db: sqlite3.Connection, name: str) -> None:
        """See :meth:`~chatsvc.storage.ports.projections.ProjectionBuilding.begin_anew`."""
        with transaction(db):
            self.tables[name].make_anew(db)

    def purge(self, db: sqlite3.Connection, before_id: int, limit: int) -> int:
        """See :meth:`~chatsvc.storage.ports.projections.ProjectionBuilding.purge`."""
        done = db.execute(
            "DELETE FROM projection_removals WHERE (projection, prefix) IN ("
            " SELECT r.projection, r.prefix FROM projections p"
            " CROSS JOIN projection_removals r ON r.projection = p.name"
            f" WHERE p.name IN {NAMED} AND p.position >= ? AND r.rev < ? LIMIT ?)",
            (self._names, _watermark(db), min(before_id, MAX_ROW_ID), limit),
        )
        return done.rowcount

    def _live_of_these_rows(self, db: sqlite3.Connection) -> LiveRange | None:
        live = self._live
        return live.range if live is not None and live.schema == _schema(db) else None

    def _settle(self, db: sqlite3.Connection, live: LiveRange) -> None:
        db.execute(
            "UPDATE projections SET position = :up_to WHERE name IN"
            " (SELECT value FROM json_each(:names)) AND position >= :after AND position < :up_to",
            {"names": self._names, **live._asdict()},
        )


class SqliteProjections(ProjectionStore):
    """In a table for each projection.

    Args:
        writer: the thread that writes.
        readers: the threads that read.
        writes: used in the thread that writes.
    """

    def __init__(
        self, writer: SqliteThreads, readers: SqliteThreads, writes: ProjectionWrites
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._writes = writes
        self._tables = writes.tables

    async def position(self, name: str) -> int:
        return await self._readers.run(lambda db: _position(db, name))

    async def get(self, name: str, key: Key) -> StoredRows:
        table = self._tables[name]
        return await self._readers.run(lambda db: _read(db, name, lambda: table.get(db, key)))

    async def page(self, name: str, prefix: Key, after: Key | None, limit: int) -> StoredRows:
        table = self._tables[name]
        return await self._readers.run(
            lambda db: _read(db, name, lambda: table.page(db, prefix, after, limit))
        )

    async def catch_up(self, name: str, changes: Changes, after: int, up_to: int) -> None:
        await self._writer.run(lambda db: self._writes.catch_up(db, name, changes, after, up_to))

    async def begin_anew(self, name: str) -> None:
        await self._writer.run(lambda db: self._writes.begin_anew(db, name))

    async def kept(self) -> Mapping[str, KeptProjection]:
        return await self._readers.run(kept)

    async def purge(self, before_id: int, limit: int) -> int:
        if not self._tables:
            return 0
        return await self._writer.run(lambda db: self._writes.purge(db, before_id, limit))


def _watermark(db: sqlite3.Connection) -> int:
    mark = watermark(db)
    return mark.position if mark is not None else 0


def _schema(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA schema_version").fetchone()
    return int(version)


def _position(db: sqlite3.Connection, name: str) -> int:
    found = db.execute("SELECT position FROM projections WHERE name = ?", (name,)).fetchone()
    return int(found[0])


def _read(
    db: sqlite3.Connection, name: str, rows: Callable[[], list[tuple[Key, RowState]]]
) -> StoredRows:
    with snapshot(db):
        return StoredRows(_position(db, name), rows())
