"""A SQLite connection that fails, and a lock that another process holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another process that holds the file for writing."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
    finally:
        db.close()


def error(code: int | None, text: str = "told by SQLite") -> sqlite3.OperationalError:
    """An error as SQLite raises it; ``None`` for one without a code."""
    made = sqlite3.OperationalError(text)
    if code is not None:
        made.sqlite_errorcode = code
        made.sqlite_errorname = "SQLITE_NAME"
    return made


class Failing:
    """A connection whose every statement fails."""

    def __init__(self, exc: Exception) -> None:
        self._exc = exc

    def execute(self, *_: object) -> None:
        raise self._exc

    def close(self) -> None:
        """Nothing is open."""
