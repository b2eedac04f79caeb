"""The tables of projections in the embedded store, made from their declarations.

They are beside those of the file's version: a program that does not know them passes them over,
and what it stores meanwhile is folded when the projection's position is found below the
watermark.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from chatsvc.core.projection import Column, Key, Projection
from chatsvc.storage.ports.projections import KeptProjection
from chatsvc.storage.projections.key_text import key_text
from chatsvc.storage.projections.row_state import Changes, RowState, prefixes
from chatsvc.storage.sqlite.statements import NAMED, insert_rows, json_list
from chatsvc.storage.sqlite.tables import execute_each, has_table

_TYPES: Final = {"text": "TEXT", "integer": "INTEGER", "bytes": "BLOB", "boolean": "INTEGER"}

_SHARED: Final = """
CREATE TABLE IF NOT EXISTS projections (
    name TEXT PRIMARY KEY,
    declared TEXT NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projection_removals (
    projection TEXT NOT NULL,
    prefix TEXT NOT NULL,
    rev INTEGER NOT NULL,
    PRIMARY KEY (projection, prefix)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS projection_removal_rev ON projection_removals (projection, rev)
"""


def make_shared(db: sqlite3.Connection) -> None:
    """Make the tables of positions and of removals."""
    execute_each(db, _SHARED)


def kept(db: sqlite3.Connection) -> dict[str, KeptProjection]:
    """Return what there is of each projection."""
    if not has_table(db, "projections"):
        return {}
    found = db.execute("SELECT name, declared, position FROM projections")
    return {name: KeptProjection(declared, position) for name, declared, position in found}


class ProjectionTable:
    """The table of one projection, within the transaction that is under way.

    Args:
        projection: its declaration.
    """

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        # With what no name of a projection has: tables and indexes share their names.
        self._name = f'"projection:{projection.name}"'
        self._key = [f'"{one.name}"' for one in projection.key]
        self._puts = [f'"{one.name}"' for one in projection.puts]
        self._maxima = [f'"{one.name}"' for one in projection.maxima]
        self._columns = [*self._key, "rev", "put_rev", *self._puts, *self._maxima]

    def is_there(self, db: sqlite3.Connection) -> bool:
        """Whether it was made."""
        return has_table(db, f"projection:{self.projection.name}")

    def make_anew(self, db: sqlite3.Connection) -> None:
        """Drop what there is, and begin at position 0."""
        projection = self.projection
        db.execute(f"DROP TABLE IF EXISTS {self._name}")
        columns = [
            *map(_column, projection.key),
            "rev INTEGER NOT NULL",
            "put_rev INTEGER NOT NULL",
        ]
        columns += map(_column, (*projection.puts, *projection.maxima))
        key = ", ".join(self._key)
        db.execute(
            f"CREATE TABLE {self._name} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID"
        )
        for number, index in enumerate(projection.indexes):
            names = ", ".join(f'"{name}"' for name in index)
            index_name = f'"projection:{projection.name}:{number}"'
            db.execute(f"CREATE INDEX {index_name} ON {self._name} ({names})")
        db.execute("DELETE FROM projection_removals WHERE projection = ?", (projection.name,))
        row = projection.name, projection.declared
        db.execute("INSERT OR REPLACE INTO projections VALUES (?, ?, 0)", row)

    def write(self, db: sqlite3.Connection, changes: Changes) -> None:
        """Write what a batch changes."""
        if changes.removed:
            self._note_removals(db, changes.removed)
        left = changes.left(self._removals(db, changes)) if changes.states else {}
        insert_rows(
            db,
            f"{self._name} ({', '.join(self._columns)})",
            [self._values(key, state) for key, state in left.items()],
            len(self._columns),
            self._on_conflict,
        )

    def get(self, db: sqlite3.Connection, key: Key) -> list[tuple[Key, RowState]]:
        """One row, if it is there."""
        return self._found(db, _equal(self._key), key)

    def page(
        self, db: sqlite3.Connection, prefix: Key, after: Key | None, limit: int
    ) -> list[tuple[Key, RowState]]:
        """Rows by prefix, above a key."""
        where = [_equal(self._key[: len(prefix)])] if prefix else []
        values: list[Any] = list(prefix)
        if after is not None:
            where.append(f"({', '.join(self._key)}) > ({', '.join('?' * len(after))})")
            values += after
        order = f"ORDER BY {', '.join(self._key)} LIMIT ?"
        return self._found(db, f"{' AND '.join(where) or 'true'} {order}", [*values, limit])

    def _note_removals(self, db: sqlite3.Connection, removed: Mapping[Key, int]) -> None:
        """Keep the removals, and remove what is there."""
        name = self.projection.name
        insert_rows(
            db,
            "projection_removals (projection, prefix, rev)",
            [(name, key_text(prefix), rev) for prefix, rev in removed.items()],
            3,
            "ON CONFLICT DO UPDATE SET rev = max(rev, excluded.rev)",
        )
        puts = "".join(
            f", {one} = CASE WHEN put_rev < :rev THEN NULL ELSE {one} END" for one in self._puts
        )
        unset = "".join(f" AND {one} IS NULL" for one in self._maxima)
        for prefix, rev in removed.items():
            values = {"rev": rev} | {f"k{n}": value for n, value in enumerate(prefix)}
            where = " AND ".join(f"{self._key[n]} = :k{n}" for n in range(len(prefix)))
            db.execute(
                f"UPDATE {self._name} SET rev = CASE WHEN rev < :rev THEN 0 ELSE rev END,"
                f" put_rev = CASE WHEN put_rev < :rev THEN 0 ELSE put_rev END{puts}"
                f" WHERE {where} AND (rev < :rev OR put_rev < :rev)",
                values,
            )
            db.execute(f"DELETE FROM {self._name} WHERE {where} AND rev = 0{unset}", values)

    def _removals(self, db: sqlite3.Connection, changes: Changes) -> dict[Key, int]:
        """The removals that are known of the rows that are written."""
        name = self.projection.name
        any_at_all = "SELECT 1 FROM projection_removals WHERE projection = ? LIMIT 1"
        if db.execute(any_at_all, (name,)).fetchone() is None:
            return {}  # their texts are not made for nothing
        wanted = {key_text(one): one for key in changes.states for one in prefixes(key)}
        found = db.execute(
            "SELECT prefix, rev FROM projection_removals"
            f" WHERE projection = ? AND prefix IN {NAMED}",
            (name, json_list(wanted)),
        )
        return {wanted[prefix]: rev for prefix, rev in found}

    @cached_property
    def _on_conflict(self) -> str:
        """The state that is there joined with that of the batch."""
        sets = ["rev = max(rev, excluded.rev)", "put_rev = max(put_rev, excluded.put_rev)"]
        sets += [
            f"{one} = CASE WHEN excluded.put_rev > put_rev THEN excluded.{one} ELSE {one} END"
            for one in self._puts
        ]
        sets += [
            f"{one} = CASE WHEN {one} IS NULL OR excluded.{one} > {one} THEN excluded.{one}"
            f" ELSE {one} END"
            for one in self._maxima
        ]
        return f"ON CONFLICT DO UPDATE SET {', '.join(sets)}"

    def _values(self, key: Key, state: RowState) -> list[Any]:
        puts = [state.puts.get(one.name) for one in self.projection.puts]
        maxima = [state.maxima.get(one.name) for one in self.projection.maxima]
        return [*key, state.rev, state.put_rev, *puts, *maxima]

    def _found(
        self, db: sqlite3.Connection, where: str, values: Sequence[Any]
    ) -> list[tuple[Key, RowState]]:
        query = f"SELECT {', '.join(self._columns)} FROM {self._name} WHERE {where}"
        return [self._state(row) for row in db.execute(query, values)]

    def _state(self, row: Sequence[Any]) -> tuple[Key, RowState]:
        projection = self.projection
        width = len(projection.key)
        rev, put_rev, *values = row[width:]
        puts = dict(_set(projection.puts, values))
        maxima = dict(_set(projection.maxima, values[len(projection.puts) :]))
        return tuple(row[:width]), RowState(rev, put_rev, puts, maxima)


def _column(column: Column) -> str:
    return f'"{column.name}" {_TYPES[column.type]}'


def _equal(columns: Iterable[str]) -> str:
    return " AND ".join(f"{one} = ?" for one in columns)


def _set(columns: Iterable[Column], values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    for column, value in zip(columns, values, strict=False):
        if value is not None:
            yield column.name, bool(value) if column.type == "boolean" else value
