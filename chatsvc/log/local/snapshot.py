"""A copy of a database as it is at one moment, while others write to it.

``VACUUM INTO`` reads within one transaction, so it ends however fast the file grows; SQLite's
online backup begins again with each write of another process, and under load never ends.
See https://www.sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chatsvc.core.errors import ConfigurationError, LogDamaged, Unavailable
from chatsvc.log.local.busy import primary_code
from chatsvc.log.local.syncing import sync

_BUSY_SECONDS: Final = 10.0
_ACCESS: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def copy_database(source: Path, target: Path) -> None:
    """Copy ``source`` as it is now to ``target``, a new file, durably. Changes nothing in it.

    Raises:
        ConfigurationError: it cannot be opened, or ``target`` exists.
        LogDamaged: SQLite finds a damaged page in it.
        Unavailable: the disk is full, or another process holds the file for 10 seconds.
    """
    if os.path.lexists(target):
        raise ConfigurationError(f"{target} exists: nothing is written over it")
    with _reading(source) as db:
        db.execute("VACUUM INTO ?", (str(target),))
    sync(target)  # VACUUM leaves that to its caller


def page_errors(path: Path) -> list[str]:
    """What SQLite finds wrong with the pages of a file; nothing, if all is well."""
    try:
        with _reading(path) as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(20)")]
    except LogDamaged as exc:
        return [str(exc)]
    return [] if found == ["ok"] else found


def oldest_needed(log: Path) -> int | None:
    """The record from which on a store may lack what this log has; ``None`` if it is empty.

    The first above the log's watermark, or its newest where all is stored.
    """
    with _reading(log) as db:
        row = db.execute(
            "SELECT coalesce((SELECT min(id) FROM records WHERE id > coalesce("
            "(SELECT value FROM meta WHERE key='watermark'), 0)), (SELECT max(id) FROM records))"
        ).fetchone()
    return None if row[0] is None else int(row[0])


def oldest(log: Path) -> int | None:
    """The lowest id that a log keeps; ``None`` if it is empty."""
    with _reading(log) as db:
        row = db.execute("SELECT min(id) FROM records").fetchone()
    return None if row[0] is None else int(row[0])


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
        )
        try:
            yield db
        finally:
            db.close()
    except sqlite3.Error as exc:
        code = primary_code(exc)
        if code in _ACCESS:
            raise ConfigurationError(f"cannot use {path}: {exc}") from exc
        if code in _DAMAGED:
            raise LogDamaged(f"{path} is damaged: {exc}") from exc
        raise Unavailable(f"{path} could not be copied or read: {exc}") from exc
