"""When pages of the log's write-ahead log move into its file, and when it is cut back."""

from __future__ import annotations

import sqlite3
from typing import Final

from chatsvc.log.local.busy import is_busy, primary_code
from chatsvc.log.local.database import WAL_BYTES, LogDatabase, raise_write_error

_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
_SHRINK_PATIENCE_MS: Final = 100


class Checkpoints(LogDatabase):
    """The checkpoints of the log's file; SQLite itself makes none.

    ``_since_checkpoint`` is about how many bytes were written since the last one.
    """

    _since_checkpoint = 0

    def checkpoint_if_due(self) -> None:
        """Move the write-ahead log's pages home, a few megabytes at a time."""
        if self._since_checkpoint >= _CHECKPOINT_BYTES:
            self._since_checkpoint = 0
            self._checkpoint("PASSIVE")

    def shrink_wal(self) -> bool:
        """Cut the write-ahead log back if a burst has left it large; whether it is small now.

        Only where all its pages are home already: then it takes a moment. A reader that is in
        the way (a backup) is waited for briefly.
        """
        if self.wal_size() <= WAL_BYTES:
            return True
        moved = self._checkpoint("PASSIVE")
        if moved is not None and moved[1] == moved[2]:
            self._checkpoint("TRUNCATE", patience_ms=_SHRINK_PATIENCE_MS)
        return self.wal_size() <= WAL_BYTES

    def wal_size(self) -> int:
        """Bytes of the write-ahead log on disk."""
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _checkpoint(self, mode: str, patience_ms: int = 0) -> tuple[int, int, int] | None:
        """SQLite's answer: whether it was busy, pages in the log, pages moved home."""
        try:
            self._wait_up_to(patience_ms)
            found: tuple[int, int, int] = self._db.execute(
                f"PRAGMA wal_checkpoint({mode})"
            ).fetchone()
        except sqlite3.Error as exc:
            if primary_code(exc) != sqlite3.SQLITE_FULL and not is_busy(exc):
                raise_write_error(exc)
            # Full or busy: the pages stay where they are, durable, for the next one.
            self._since_checkpoint = _CHECKPOINT_BYTES // 2
            return None
        return found
