"""What SQLite's errors mean: a value that it cannot hold, or the state of its file."""

from __future__ import annotations

import sqlite3
from typing import Final

from chatsvc.core.errors import StoreUnavailable

UNFIT: Final = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError)
"""What a value can cause that SQLite cannot hold; anything else is the file's state."""


def misplaced(error: str) -> StoreUnavailable:
    """The error of a file that is not the one that was opened."""
    return StoreUnavailable(f"the store's file: {error}", code="store_file_missing")
