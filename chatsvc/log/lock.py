"""One process per ``DATA_DIR``: an exclusive lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chatsvc.core.errors import ConfigurationError


class DataDirLock:
    """Holds ``DATA_DIR/lock`` from :meth:`acquire` to :meth:`release` or the process's end.

    The kernel lets go of it when the process ends, however it ends; what is written in
    the file is for people.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises:
        ConfigurationError: another process holds it, or the folder cannot be used.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ConfigurationError(
                f"DATA_DIR: cannot use {self._path.parent}: {exc.strerror}"
            ) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigurationError(
                f"DATA_DIR: {self._path.parent} is in use by process {holder}; "
                "stop it, or give this one a folder of its own"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
