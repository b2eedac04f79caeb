"""``DATA_DIR`` holds what people wrote: its files are their owner's alone.

The process runs with a umask of 077, so what it makes is private. Files of an earlier
version, or of a folder that was made by hand, are closed to others here; the folder itself
is the operator's, and is warned of.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

_OTHERS: Final = 0o077
_OURS: Final = (
    "log.db", "log.db-wal", "log.db-shm", "store.db", "store.db-wal", "store.db-shm", "lock",
)  # fmt: skip


class Finding(NamedTuple):
    """Something about the folder that its operator should know.

    ``event`` is ``data_dir_open_to_others``, ``data_dir_of_another_user``,
    ``data_file_was_open_to_others`` (it no longer is) or ``data_file_of_another_user``.
    """

    event: str
    path: Path
    mode: str


def close_to_others(data_dir: Path) -> list[Finding]:
    """Take from group and others whatever they may do with the files of ``data_dir``.

    To be called before its databases are opened: closing a file that SQLite has open lets
    go of SQLite's locks. A file that is a symbolic link is left alone.

    Raises:
        OSError: the folder cannot be looked at.
    """
    found: list[Finding] = []
    folder = data_dir.stat()
    if folder.st_uid not in (os.geteuid(), 0):
        found.append(Finding("data_dir_of_another_user", data_dir, _shown(folder.st_mode)))
    if folder.st_mode & _OTHERS:
        found.append(Finding("data_dir_open_to_others", data_dir, _shown(folder.st_mode)))
    for name in _OURS:
        finding = _close(data_dir / name)
        if finding is not None:
            found.append(finding)
    return found


def _close(path: Path) -> Finding | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None  # not there, a link, or not to be opened: opening it in earnest will tell
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or not state.st_mode & _OTHERS:
            return None
        try:
            os.fchmod(descriptor, stat.S_IMODE(state.st_mode) & ~_OTHERS)
        except PermissionError:
            return Finding("data_file_of_another_user", path, _shown(state.st_mode))
        return Finding("data_file_was_open_to_others", path, _shown(state.st_mode))
    finally:
        os.close(descriptor)


def _shown(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
