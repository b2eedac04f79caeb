"""Statements over many rows, and transactions.

``executemany`` gives up the interpreter's lock for every row, and beside a busy event
loop waits for it as often; one statement with many rows waits once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, islice
from typing import Any, Final

import msgspec

MAX_ROW_ID: Final = (1 << 63) - 1
"""Row ids are signed; ids of this service stay below until the year 6429."""
NAMED: Final = "(SELECT value FROM json_each(?))"
"""The values of a list that :func:`json_list` made, for ``IN``."""

_MAX_VARIABLES: Final = 6000
_SIZES_AN_OCTAVE: Final = 4
"""How many sizes of statements there are between a number of rows and its double."""
_names = msgspec.json.Encoder().encode


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is done within, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has ended it already
            db.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of one moment."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def insert_rows(
    db: sqlite3.Connection,
    into: str,
    rows: Iterable[Sequence[Any]],
    width: int,
    on_conflict: str = "",
) -> None:
    """Insert rows, some thousand values at a time.

    Args:
        into: the table and its columns, ``messages (id, sender)``; the first must not be NULL.
        rows: the values of each.
        width: the number of columns.
        on_conflict: ``ON CONFLICT …``, where a row may be there.
    """
    _in_bulk(
        db,
        f"INSERT INTO {into} SELECT * FROM",
        rows,
        width,
        f"WHERE column1 NOT NULL {on_conflict}",
    )


def select_joined(
    db: sqlite3.Connection,
    columns: str,
    rows: Iterable[Sequence[Any]],
    width: int,
    join: str,
) -> list[Any]:
    """Return what is joined with rows ``j (column1, …)``, some thousand values at a time.

    Args:
        columns: what is selected.
        rows: the values of each.
        width: their number.
        join: ``CROSS JOIN table h ON …``; a row whose values are NULL must join nothing.
    """
    return _in_bulk(db, f"SELECT {columns} FROM", rows, width, f"j {join}")


def _in_bulk(
    db: sqlite3.Connection, statement: str, rows: Iterable[Sequence[Any]], width: int, then: str
) -> list[Any]:
    """Run ``statement (VALUES (…),(…)) then``; rows of NULLs are added to those that are given.

    To compile a statement costs four times as much as to run it, so that statements of few sizes
    are used, which the connection keeps.
    """
    answered: list[Any] = []
    remaining = iter(rows)
    max_rows = _MAX_VARIABLES // width
    max_rows -= max_rows % _step(max_rows)
    while part := list(islice(remaining, max_rows)):
        size = size_for(len(part))
        values = list(chain.from_iterable(part))
        values += [None] * (width * (size - len(part)))
        whole = f"{statement} (VALUES {_placeholders(size, width)}) {then}"
        answered += db.execute(whole, values).fetchall()
    return answered


def size_for(rows: int) -> int:
    """Return the size of a statement with room for rows: 1 to 8, 10, 12, 14, 16, 20 and on."""
    step = _step(rows)
    return -(-rows // step) * step


def _step(rows: int) -> int:
    return 1 << max(0, rows.bit_length() - _SIZES_AN_OCTAVE.bit_length())


@lru_cache(maxsize=256)
def _placeholders(rows: int, width: int) -> str:
    return ",".join(["(" + ",".join("?" * width) + ")"] * rows)


def json_list(names: Iterable[Any]) -> str:
    """A list as a parameter for :data:`NAMED`. SQLite reads a string in it up to its first NUL."""
    return _names(list(names)).decode()
