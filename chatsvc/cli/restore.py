"""``chatsvc restore DIR``: restore a backup into a ``DATA_DIR`` that is not in use."""

from __future__ import annotations

import argparse
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from chatsvc import logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.backup_folder import (
    LOG,
    STORE,
    Manifest,
    check_copies,
    copy_checked,
    read_manifest,
)
from chatsvc.cli.options import (
    add_data,
    add_store,
    path_of,
    print_line,
    settings_from,
    warn_of_near_misses,
)
from chatsvc.core.errors import ConfigurationError, Unavailable
from chatsvc.core.ids import now_ms
from chatsvc.log.local.damage import unfinished_loss
from chatsvc.log.local.given_ids import highest_given
from chatsvc.log.local.lock import UNFINISHED_RESTORE, DataDirLock
from chatsvc.log.local.syncing import sync
from chatsvc.log.local.verify import begin_restored_epoch
from chatsvc.settings.table import Settings


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    add_store(parser)
    parser.add_argument("dir", metavar="DIR", help="a folder that `chatsvc backup` has created")
    parser.add_argument(
        "--force",
        action="store_true",
        help="move the existing files of DATA_DIR away first",
    )
    parser.set_defaults(run=restore)


def restore(arguments: argparse.Namespace) -> int:
    """Verify the backup, then put its files into ``DATA_DIR``.

    The service must be stopped. Existing files are moved to another folder with ``--force``,
    and are an error without it. The log begins a new epoch: it does not have what was sent
    after the backup, and clients that have are notified.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    source = path_of("DIR", arguments.dir).absolute()
    manifest = read_manifest(source)
    if manifest.store != settings.chosen_store:
        raise ConfigurationError(
            f"STORE must be {manifest.store}, as in the backup {source}, and is "
            f"{settings.chosen_store}"
        )
    lock = DataDirLock(settings.data_path)
    lock.acquire(to_restore=True)
    try:
        old_files = _restore(settings, source, manifest, force=arguments.force)
    except OSError as exc:
        raise Unavailable(f"the backup could not be restored: {exc}") from exc
    finally:
        lock.release()
    print_line(f"{settings.data_path}: as of {manifest.made_at}")
    if old_files is not None:
        print_line(f"the previous files are in {old_files}")
    return 0


def _restore(settings: Settings, source: Path, manifest: Manifest, *, force: bool) -> Path | None:
    """Restore the files; return the folder of the previous files, if there were any."""
    data = settings.data_path
    old = [path for name in manifest.files for path in _files_of(data, name)]
    if old and not force:
        names = ", ".join(path.name for path in old)
        raise ConfigurationError(
            f"DATA_DIR: {data} must not contain {names}: restore into another folder, or use "
            "--force, which moves these files to another folder"
        )
    part = data / UNFINISHED_RESTORE
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, part, ignore_errors=True)
        for name, entry in manifest.files.items():
            copy_checked(source / name, part / name, entry)
        check_copies(part, list(manifest.files))
        begin_restored_epoch(part / LOG, _highest_given(data / LOG))
        _give_to_owner(part, data)
        sync(part)
        sync(data)
        undo.pop_all()  # from here on the folder stays, and prevents that the service starts
    # Listed again: reading the old log may have made its -wal and -shm.
    old = [path for name in manifest.files for path in _files_of(data, name)]
    old_files = _move_old_files(data, old)
    for name in sorted(manifest.files, key=(STORE, LOG).index):
        (part / name).rename(data / name)
    sync(data)
    part.rmdir()
    sync(data)
    return old_files


def _highest_given(log: Path) -> int:
    """Return the highest id that the replaced log has given to anything, 0 if there is none."""
    if not log.exists():
        return 0
    given = highest_given(log)
    if given is None:
        print_line(f"{log} cannot be read: new ids start above those of the backup and the clock")
    return given or 0


def _files_of(data: Path, name: str) -> list[Path]:
    """Return the existing files of a database, with those of SQLite beside it."""
    paths = [data / f"{name}{suffix}" for suffix in ("", "-wal", "-shm")]
    if name == LOG:
        paths.append(unfinished_loss(data / LOG))
    return [path for path in paths if os.path.lexists(path)]


def _move_old_files(data: Path, old: list[Path]) -> Path | None:
    if not old:
        return None
    folder = data / f"before-restore-{now_ms()}"
    folder.mkdir(mode=0o700)
    for path in old:
        path.rename(folder / path.name)
    sync(folder)
    return folder


def _give_to_owner(part: Path, data: Path) -> None:
    """Give files that root restores to the user that runs the service."""
    if os.geteuid() != 0:
        return
    owner = data.stat()
    for path in (part, *part.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
