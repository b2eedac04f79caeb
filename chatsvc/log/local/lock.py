"""One process per ``DATA_DIR``: an exclusive lock that dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from chatsvc.core.errors import ConfigurationError
from chatsvc.log.local.privacy import close_to_others

UNFINISHED_RESTORE: Final = "restore.part"
"""A folder in ``DATA_DIR`` from the beginning to the end of ``chatsvc restore``."""
_LOG_FILES: Final = ("log.db", "log.db-wal", "log.db-shm")
_TRIAL_PREFIX: Final = ".chatsvc-check-"

_logger = structlog.get_logger("chatsvc.log")


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
        except OSError as exc:
            # A file, a link to nowhere, a link to itself.
            no_folder = exc.errno in (errno.EEXIST, errno.ELOOP)
            raise self._unusable(_not_a_directory() if no_folder else exc) from exc
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
        if not to_restore:
            try:
                self._check_files()
            except ConfigurationError:
                os.close(descriptor)
                raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        for finding in close_to_others(self._path.parent):
            _logger.warning(finding.event, path=str(finding.path), mode=finding.mode)

    def check(self) -> None:
        """Whether :meth:`acquire` could take it, another holder aside. Leaves nothing behind.

        Raises:
            ConfigurationError: as :meth:`acquire`.
        """
        folder = self._path.parent
        missing: list[str] = []
        while not os.path.lexists(folder) and folder != folder.parent:
            missing.insert(0, folder.name)
            folder = folder.parent
        try:
            if not folder.is_dir():
                raise _not_a_directory()
            _make_and_remove(folder, missing)
            if os.path.lexists(self._path):
                os.close(self._open())
        except OSError as exc:
            raise self._unusable(exc) from exc
        self._check_files()

    def _check_files(self) -> None:
        """Whether the log's files, if there are any, are complete and can be written.

        To be called before SQLite opens them, as :func:`close_to_others`.
        """
        folder = self._path.parent
        if (folder / UNFINISHED_RESTORE).exists():
            raise self._half_restored()
        for path in (folder / name for name in _LOG_FILES):
            try:
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc.strerror}") from exc

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
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
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


def _make_and_remove(folder: Path, names: Sequence[str]) -> None:
    """Make a file in ``folder``, or in new folders of these names within it, and remove it all.

    Modes do not tell whether this is possible: a file system may be mounted read-only, have no
    room, make nothing (/proc) or not take the name.

    Raises:
        OSError: it is not possible.
    """
    made: list[Path] = []
    try:
        if names:
            folder = Path(tempfile.mkdtemp(prefix=_TRIAL_PREFIX, dir=folder))
            made.append(folder)
        for name in names:
            if name != os.pardir:  # would lead out of the folder that is removed again
                folder /= name
                folder.mkdir(mode=0o700)
                made.append(folder)
        tempfile.TemporaryFile(prefix=_TRIAL_PREFIX, dir=folder).close()
    finally:
        for path in reversed(made):
            path.rmdir()
