"""Ids that a log may have given, to begin above them where a part of it is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from chatsvc.core.ids import TIME_SHIFT, id_at, now_ms
from chatsvc.log.local.elapsed import ElapsedHeads
from chatsvc.log.local.file import LogFile

ID_MARGIN: Final = 60_000 << TIME_SHIFT
"""One minute of ids. Where a clock was ahead, ids are above it and consecutive: then this is
61 million messages that nothing readable tells of."""

_POSITIONS: Final = ("base", "trimmed", "start", "watermark", "settled", "unconfirmed")


def above_all_given(file: LogFile, given: int = 0) -> int:
    """Return an id above every one that the log may have given.

    Args:
        given: an id that was given, as something else than the file tells.
    """
    return max(_highest(file.head(), file.meta), given, id_at(now_ms())) + ID_MARGIN


def highest_given(path: Path) -> int | None:
    """Return the highest id that a log's file tells of, ``None`` if it cannot be read.

    The file and its write-ahead log are not changed, whatever state they are in.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            head = db.execute("SELECT max(id) FROM records").fetchone()[0] or 0
            values = dict(db.execute("SELECT key, value FROM meta"))
            return _highest(int(head), values.get)
    except (sqlite3.Error, ValueError):
        return None


def _highest(head: int, meta: Callable[[str], object]) -> int:
    saved = meta("elapsed")
    noted = ElapsedHeads(None if saved is None else str(saved)).older_than(0)
    return max(head, noted, *(int(str(meta(key) or 0)) for key in _POSITIONS))
