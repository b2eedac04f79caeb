"""Whether a database file is still where it was opened.

A file that was unlinked or replaced goes on taking writes, and all of them are gone with the
process: SQLite does not look, in WAL mode.
"""

from __future__ import annotations

from pathlib import Path


class InPlace:
    """A database file and its write-ahead log, by device and inode.

    Args:
        path: an open database; its write-ahead log is known from when it is first there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._file_identity = _identity(path)
        self._wal_identity = _identity(self._wal)

    def find_error(self) -> str | None:
        """What is wrong, in words that name the file, or ``None``.

        Raises:
            OSError: the folder cannot be looked at.
        """
        found = _identity(self._path)
        if found != self._file_identity:
            return f"{self._path} was {'removed' if found is None else 'replaced'}"
        found = _identity(self._wal)
        if self._wal_identity is None:
            self._wal_identity = found
        elif found != self._wal_identity:
            return f"{self._wal} was {'removed' if found is None else 'replaced'}"
        return None

    def drop_left_wal(self) -> None:
        """Remove the write-ahead log that was left beside another file; the database is closed.

        SQLite leaves it where the file is no longer its own. Whoever opens the new file would
        find the pages of the old one beside it, and take them for its own
        (sqlite.org/howtocorrupt.html, section 1.4).
        """
        left = self._wal_identity is not None and _identity(self._wal) == self._wal_identity
        if left and _identity(self._path) != self._file_identity:
            self._wal.unlink()
            self._path.with_name(self._path.name + "-shm").unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
