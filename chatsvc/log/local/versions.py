"""Which version the log's file has, without opening it for writing."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from chatsvc.core.errors import LogDamaged
from chatsvc.log.local.busy import retry_while_busy
from chatsvc.log.local.database import SCHEMA_VERSION

_BUSY_SECONDS: Final = 5.0


def log_versions(path: Path) -> tuple[int, int]:
    """The file's version (0: there is none yet) and the one that this program writes.

    Raises:
        LogDamaged: not a log at all.
    """
    if not path.exists():
        return 0, SCHEMA_VERSION
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            read = partial(db.execute, "PRAGMA user_version")
            found = int(retry_while_busy(read, _BUSY_SECONDS).fetchone()[0])
        finally:
            db.close()
    except sqlite3.Error as exc:
        raise LogDamaged(f"{path} cannot be read as a log: {exc}") from exc
    return found, SCHEMA_VERSION
