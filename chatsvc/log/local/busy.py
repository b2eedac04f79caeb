"""SQLite files that another process holds for a moment.

The busy handler (``PRAGMA busy_timeout``) is not asked everywhere: ``PRAGMA journal_mode=WAL``,
the recovery of a write-ahead log and a lock that is raised from shared to exclusive answer
``SQLITE_BUSY`` at once, and several processes that open one file at the same time meet each of
them (sqlite.org/c3ref/busy_handler.html, sqlite.org/wal.html, section 9).
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
"""Primary result codes that say: another holds it, nothing was done."""

_FIRST_PAUSE: Final = 0.002
_MAX_PAUSE: Final = 0.1


def is_busy(exc: BaseException) -> bool:
    """Whether this is another's lock, and trying again may help."""
    return isinstance(exc, sqlite3.Error) and primary_code(exc) in BUSY


def primary_code(exc: sqlite3.Error) -> int:
    """SQLite's primary result code, 0 where Python's own module raised."""
    return (getattr(exc, "sqlite_errorcode", None) or 0) & 0xFF


def retry_while_busy(call: Callable[[], T], seconds: float) -> T:
    """The call's result; while another holds the file it is made again, for so many seconds.

    Args:
        call: undoes what it did before it raises.
        seconds: the time within which a last try begins.

    Raises:
        sqlite3.OperationalError: it was busy all the time.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except sqlite3.OperationalError as exc:
            if not is_busy(exc) or time.monotonic() >= deadline:
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, _MAX_PAUSE)
