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


@lru_cache(maxsize=256)
def _placeholders(rows: int, width: int) -> str:
    return ",".join(["(" + ",".join("?" * width) + ")"] * rows)


def in_bulk(
    db: sqlite3.Connection,
    statement: str,
    rows: Iterable[Sequence[Any]],
    width: int,
    then: str = "",
) -> list[Any]:
    """Run ``statement (VALUES (…),(…)) then`` over all rows, some thousand values at a time.

    Returns:
        What it answers, for one that selects.
    """
    answered: list[Any] = []
    remaining = iter(rows)
    while part := list(islice(remaining, _MAX_VARIABLES // width)):
        values = _placeholders(len(part), width)
        whole = f"{statement} (VALUES {values}) {then}"
        answered += db.execute(whole, list(chain.from_iterable(part))).fetchall()
    return answered


def json_list(names: Iterable[Any]) -> str:
    """A list as a parameter for :data:`NAMED`. SQLite reads a string in it up to its first NUL."""
    return _names(list(names)).decode()
