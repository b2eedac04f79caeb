"""A damaged log is not opened: what is damaged, the copy that is kept, an unfinished loss."""

from __future__ import annotations

import shutil
from pathlib import Path

from chatsvc.core.errors import LogDamaged
from chatsvc.log.local.wal import inspect_wal


def refuse_damage(path: Path) -> int | None:
    """Where the write-ahead log is torn, in bytes, or ``None``.

    Raises:
        LogDamaged: it lost more than its end. A copy is made before anything opens it.
    """
    if unfinished_loss(path).exists():
        raise LogDamaged(
            f"{path}: an accepted loss was not finished; run `chatsvc log verify --accept-loss` "
            "again"
        )
    wal = path.with_name(path.name + "-wal")
    report = inspect_wal(wal)
    if not report.damaged:
        return report.bad_offset
    copies = keep_copy(path, f"damaged-at-{report.bad_offset}-of-{wal.stat().st_size}")
    raise LogDamaged(
        f"{wal} is damaged at byte {report.bad_offset}: {report.commits} commits before it are "
        f"good, {report.commits_lost} at or behind it would be lost. Nothing was changed; a copy "
        f"is in {copies}. Restore {path.name} and its -wal from a backup, or accept the loss with "
        "`chatsvc log verify --accept-loss`"
    )


def unfinished_loss(path: Path) -> Path:
    """The file that is there from when a loss is accepted until its new epoch has begun."""
    return path.with_name(f"{path.name}-loss-unfinished")


def keep_copy(path: Path, name: str) -> Path:
    """Copy the log's files, as they are, into a folder beside them.

    Once for each ``name``, or a supervisor's restarts would fill the disk.
    """
    copies = path.with_name(name)
    if not copies.exists():
        unfinished = path.with_name(f"{name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for source in (path, path.with_name(path.name + "-wal")):
            if source.exists():
                shutil.copy2(source, unfinished / source.name)
        unfinished.rename(copies)
    return copies
