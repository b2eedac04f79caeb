"""``chatsvc backup DIR``: a consistent copy of log and store, also of a running service."""

from __future__ import annotations

import argparse
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from chatsvc import __version__, logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.backup_folder import (
    LOG,
    STORE,
    VERSION,
    Manifest,
    check_copies,
    entry_of,
    write_manifest,
)
from chatsvc.cli.options import (
    add_data,
    add_store,
    path_of,
    print_line,
    settings_from,
    warn_of_near_misses,
)
from chatsvc.core.errors import ConfigurationError, LogDamaged, Unavailable
from chatsvc.log.local.lock import DataDirInUse, DataDirLock
from chatsvc.log.local.snapshot import copy_database, oldest, oldest_needed
from chatsvc.log.local.syncing import sync
from chatsvc.log.local.wal import inspect_wal
from chatsvc.settings.table import Settings


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    add_store(parser)
    parser.add_argument("dir", metavar="DIR", help="a folder that does not exist yet")
    parser.set_defaults(run=backup)


def backup(arguments: argparse.Namespace) -> int:
    """Copy the store and then the log into a new folder, and verify the copies.

    The copy of the log holds every message that the copy of the store lacks. With MongoDB only
    the log is copied. The folder gets its name when it is complete.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    target = path_of("DIR", arguments.dir).absolute()
    _check_source(settings)
    part = target.with_name(f"{target.name}.part")
    if os.path.lexists(target):
        raise ConfigurationError(f"DIR: {target} must not exist")
    try:
        part.mkdir(mode=0o700)
    except FileExistsError:
        raise ConfigurationError(
            f"DIR: {part} must not exist: wait for the running backup, or remove it"
        ) from None
    except OSError as exc:
        raise ConfigurationError(f"DIR: cannot create {part}: {exc.strerror}") from exc
    try:
        records = _fill(settings, part)
        part.rename(target)
        sync(target.parent)
    except OSError as exc:
        raise Unavailable(f"the backup could not be written: {exc.strerror}") from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print_line(f"{target}: {records} records of the log, verified")
    if settings.chosen_store == "mongodb":
        print_line(
            "MongoDB is not in it. Always back up MongoDB first, as of one moment (mongodump "
            "--oplog, or a snapshot), and then the log, which holds what that copy lacks"
        )
    return 0


def _check_source(settings: Settings) -> None:
    """Check that the files exist and that the log is not damaged.

    Raises:
        ConfigurationError: there is nothing to copy.
        LogDamaged: the log of a stopped service lost more than a crash can cause.
    """
    data = settings.data_path
    names = [LOG, STORE] if settings.chosen_store == "sqlite" else [LOG]
    missing = [name for name in names if not (data / name).exists()]
    if missing:
        raise ConfigurationError(f"DATA_DIR: there is no {' and no '.join(missing)} in {data}")
    lock = DataDirLock(data)
    try:
        lock.acquire()
    except DataDirInUse:
        return  # a running service has checked it when it opened it
    try:
        if inspect_wal(data / f"{LOG}-wal").damaged:
            raise LogDamaged(
                f"{data / LOG} is damaged, and must be repaired first: see `chatsvc log verify`"
            )
    finally:
        lock.release()


def _fill(settings: Settings, part: Path) -> int:
    data = settings.data_path
    needed = oldest_needed(data / LOG)
    names = [LOG]
    if settings.chosen_store == "sqlite":
        copy_database(data / STORE, part / STORE)
        names.append(STORE)
    copy_database(data / LOG, part / LOG)
    kept = oldest(part / LOG)
    if needed is not None and (kept is None or kept > needed):
        raise Unavailable(
            "the log removed records while the store was copied, so that the copies are not "
            "consistent: LOG_RETENTION_SECONDS must be longer than a backup takes"
        )
    records = check_copies(part, names)
    made_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    manifest = Manifest(
        version=VERSION,
        made_at=made_at,
        program=__version__,
        store=settings.chosen_store,
        files={name: entry_of(part / name) for name in sorted(names)},
    )
    write_manifest(part, manifest)
    sync(part)
    return records
