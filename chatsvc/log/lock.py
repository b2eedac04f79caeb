"""One process per ``DATA_DIR``: an exclusive lock that dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

import structlog

from chatsvc.core.errors import ConfigurationError
from chatsvc.log.privacy import close_to_others

UNFINISHED_RESTORE: Final = "restore.part"
"""A folder in ``DATA_DIR`` from the beginning to the end of ``chatsvc restore``."""


class DataDirInUse(ConfigurationError):
    """Another process holds the folder's lock."""


class DataDirLock:
    """Holds ``DATA_DIR/lock`` from :meth:`acquire` to :meth:`release` or the process's end.

    The kernel lets go of it when the process ends, however it ends; what is written in
    the file is for people.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self, *, to_restore: bool = False) -> None:
        """Take the lock, and close the folder's files to others.

        Args:
            to_restore: also where an earlier ``chatsvc restore`` did not end.

        Raises:
            DataDirInUse: another process holds it.
            ConfigurationError: the folder cannot be used.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as exc:  # a file, or a link to nowhere
            raise self._unusable(_not_a_directory()) from exc
        except OSError as exc:
            raise self._unusable(exc) from exc
        try:
            descriptor = self._open()
        except OSError as exc:
            raise self._unusable(exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirInUse(
                f"DATA_DIR: {self._path.parent} is in use by process {holder}; "
                "stop it, or give this one a folder of its own"
            ) from None
        if not to_restore and (self._path.parent / UNFINISHED_RESTORE).exists():
            os.close(descriptor)
            raise self._half_restored()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        for finding in close_to_others(self._path.parent):
            structlog.get_logger("chatsvc.log").warning(
                finding.event, path=str(finding.path), mode=finding.mode
            )

    def check(self) -> None:
        """Whether :meth:`acquire` could take it, another holder aside. Makes nothing.

        Raises:
            ConfigurationError: as :meth:`acquire`.
        """
        folder = self._path.parent
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        try:
            if not folder.is_dir():
                raise _not_a_directory()
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if os.path.lexists(self._path):
                os.close(self._open())
        except OSError as exc:
            raise self._unusable(exc) from exc
        if (self._path.parent / UNFINISHED_RESTORE).exists():
            raise self._half_restored()

    def _unusable(self, exc: OSError) -> ConfigurationError:
        if exc.errno == errno.ELOOP:
            return ConfigurationError(
                f"DATA_DIR: {self._path} is a symbolic link, which chatsvc never makes: remove it"
            )
        return ConfigurationError(f"DATA_DIR: cannot use {self._path.parent}: {exc.strerror}")

    def _half_restored(self) -> ConfigurationError:
        return ConfigurationError(
            f"DATA_DIR: a restore into {self._path.parent} did not end, and a part of the files "
            "may be missing: run `chatsvc restore` again"
        )

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, "its lock is not a regular file")
            folder = self._path.parent.stat()
            if os.geteuid() == 0 and folder.st_uid != 0:
                # A command that root runs must not keep the service's own user out.
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Let the next one in. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _not_a_directory() -> OSError:
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
