"""``chatsvc restore DIR``: a backup into a ``DATA_DIR`` that nobody uses."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from chatsvc import logs
from chatsvc.cli.backup_folder import (
    LOG,
    STORE,
    Manifest,
    check_copies,
    copy_checked,
    read_manifest,
    sync_folder,
)
from chatsvc.cli.options import say, settings_from, warn_of_near_misses
from chatsvc.core.errors import ConfigurationError, Unavailable
from chatsvc.core.ids import now_ms
from chatsvc.log.file import unfinished_loss
from chatsvc.log.given_ids import highest_given
from chatsvc.log.lock import UNFINISHED_RESTORE, DataDirLock
from chatsvc.log.verify import begin_restored_life
from chatsvc.settings import Settings


def restore(arguments: argparse.Namespace) -> int:
    """Verify the backup, then put its files into ``DATA_DIR``; 0 if they are there.

    The service must be stopped. Files that are there already are moved aside with
    ``--force``, and stop it without. The log begins a new epoch: what was sent after the
    backup is unknown to it, and clients that know of it are told so.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    source = Path(arguments.dir).expanduser().absolute()
    manifest = read_manifest(source)
    if manifest.store != settings.chosen_store:
        raise ConfigurationError(
            f"{source} is of a service with STORE={manifest.store}, and here STORE is "
            f"{settings.chosen_store}: set it as it was"
        )
    lock = DataDirLock(settings.data_path)
    lock.acquire(to_restore=True)
    try:
        aside = _restore(settings, source, manifest, force=arguments.force)
    except OSError as exc:
        raise Unavailable(f"the backup could not be restored: {exc}") from exc
    finally:
        lock.release()
    say(f"{settings.data_path}: as of {manifest.made_at}")
    if aside is not None:
        say(f"the files that were there are in {aside}")
    return 0


def _restore(settings: Settings, source: Path, manifest: Manifest, *, force: bool) -> Path | None:
    """Where the old files are now, if there were any."""
    data = settings.data_path
    old = [path for name in manifest.files for path in _files_of(data, name)]
    if old and not force:
        names = ", ".join(path.name for path in old)
        raise ConfigurationError(
            f"DATA_DIR: {data} holds {names}: restore into another folder, or say --force, which "
            "moves the files that are there aside"
        )
    part = data / UNFINISHED_RESTORE
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    moved = False
    try:
        for name, entry in manifest.files.items():
            copy_checked(source / name, part / name, entry)
        check_copies(part, list(manifest.files))
        begin_restored_life(part / LOG, _highest_given(data / LOG))
        _give_to_owner(part, data)
        sync_folder(part)
        sync_folder(data)
        moved = True
        aside = _move_aside(
            data, [path for name in manifest.files for path in _files_of(data, name)]
        )
        for name in sorted(manifest.files, key=(STORE, LOG).index):
            (part / name).rename(data / name)
        sync_folder(data)
    except BaseException:
        if not moved:  # afterwards the folder stays, and keeps the service from starting
            shutil.rmtree(part, ignore_errors=True)
        raise
    part.rmdir()
    sync_folder(data)
    return aside


def _highest_given(log: Path) -> int:
    """The highest id that the log that is moved aside has given; 0 if there is none."""
    if not log.exists():
        return 0
    given = highest_given(log)
    if given is None:
        say(f"{log} cannot be read: new ids start above those of the backup and the clock")
    return given or 0


def _files_of(data: Path, name: str) -> list[Path]:
    """A database and what belongs to it beside it, as far as they are there."""
    paths = [data / f"{name}{suffix}" for suffix in ("", "-wal", "-shm")]
    if name == LOG:
        paths.append(unfinished_loss(data / LOG))
    return [path for path in paths if os.path.lexists(path)]


def _move_aside(data: Path, old: list[Path]) -> Path | None:
    if not old:
        return None
    aside = data / f"before-restore-{now_ms()}"
    aside.mkdir(mode=0o700)
    for path in old:
        path.rename(aside / path.name)
    sync_folder(aside)
    return aside


def _give_to_owner(part: Path, data: Path) -> None:
    """What root restores belongs to the user that runs the service."""
    if os.geteuid() != 0:
        return
    owner = data.stat()
    for path in (part, *part.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)
