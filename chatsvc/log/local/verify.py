"""Looking a log over while nobody serves from it, and going on without what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from chatsvc.core.ids import now_ms
from chatsvc.log.local.attachment import begin_epoch, missing_end
from chatsvc.log.local.damage import keep_copy, unfinished_loss
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.given_ids import above_all_given
from chatsvc.log.local.key_file import KEYS_FORGOTTEN
from chatsvc.log.local.positions import head_of, load
from chatsvc.log.local.syncing import sync
from chatsvc.log.local.wal import inspect_wal
from chatsvc.log.reconcile import joined
from chatsvc.log.state import StateDue


class BadRow(NamedTuple):
    """A row that is not what was written; ``data`` are its bytes as they are."""

    id: int
    reason: str
    data: bytes


class Verdict(NamedTuple):
    """What was found. ``errors`` are sentences; ``rows`` can be put aside one by one.

    ``state``: what is wrong with the log's own state, in sentences. A store has it too.
    """

    records: int
    errors: tuple[str, ...]
    rows: tuple[BadRow, ...]
    state: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not self.errors and not self.rows and not self.state


def verify(path: Path) -> Verdict:
    """Check the write-ahead log, the pages, every row's CRC, and the watermark.

    Changes nothing where the write-ahead log is damaged: then it is not even opened.
    """
    report = inspect_wal(path.with_name(path.name + "-wal"))
    if report.damaged:
        error = (
            f"the write-ahead log is damaged at byte {report.bad_offset}: {report.commits} "
            f"commits are good, {report.commits_lost} behind would be lost"
        )
        return Verdict(0, (error,), ())
    if unfinished_loss(path).exists():
        return Verdict(0, ("an accepted loss was not finished: accept it again",), ())
    file = LogFile(path)
    try:
        errors = [f"a page is damaged: {text}" for text in file.integrity()]
        if errors:
            return Verdict(0, tuple(errors), ())
        rows = tuple(BadRow(row[0], reason, row[2]) for row, reason in file.bad_rows())
        positions = load(file)
        missing = missing_end(positions, head_of(file, positions))
        if missing is not None:
            errors.append(missing)
        return Verdict(file.count(), tuple(errors), rows, tuple(file.bad_state()))
    finally:
        file.close()


def remove(path: Path, rows: tuple[BadRow, ...]) -> None:
    """Take rows out of the log that were put aside elsewhere, durably, before.

    Of a row that no store is known to hold, readers have to know: it is lost, and a new epoch
    begins below it, so that cursors of the old one are answered with a gap. One that a store
    holds is lost where that store is replaced by one that lacks it.
    """
    file = LogFile(path)
    try:
        positions = load(file)
        ids = [row.id for row in rows]
        if positions.state_due is StateDue.NOTHING:
            # A store may lack what these records changed in the state; the log has it.
            positions = positions._replace(state_due=StateDue.REWRITING)
        stored = [one for one in ids if one <= positions.stored]
        unstored = [one for one in ids if one > positions.stored]
        if stored:
            removed = min(stored) - 1, max(stored)
            positions = positions._replace(removed=joined(positions.removed, removed))
        if unstored:
            lost = min(unstored) - 1, max(unstored)
            positions = begin_epoch(positions, lost[0])
            positions = positions._replace(hole=joined(positions.hole, lost))
        file.remove(ids, {**KEYS_FORGOTTEN, **positions.meta()})
    finally:
        file.close()


def adopt_state(path: Path) -> bool:
    """Let the next start read the log's own state anew, from the store.

    Returns:
        False, and nothing is changed, where the store has yet to get rows of this log.
    """
    file = LogFile(path)
    try:
        positions = load(file)
        if positions.state_due is StateDue.REWRITING or positions.store is None:
            return False
        file.set_meta("state_due", StateDue.ADOPTION)
        return True
    finally:
        file.close()


def accept_loss(path: Path) -> Path:
    """Open the log without what cannot be read, and begin a new epoch of it.

    New ids start above everything that may have been handed out, what lies between is lost,
    and cursors of the old epoch are answered with a gap.

    Returns:
        The folder with a copy of the files as they were.
    """
    copies = keep_copy(path, f"before-accepted-loss-{now_ms()}")
    # To open the file removes every trace of the damage, before the new epoch has begun.
    unfinished = unfinished_loss(path)
    unfinished.touch(mode=0o600)
    sync(path.parent)
    file = LogFile(path, accept_loss=True)
    try:
        _begin_anew(file)
    finally:
        file.close()
    unfinished.unlink()
    sync(path.parent)
    return copies


def begin_restored_epoch(path: Path, given: int = 0) -> None:
    """Make a log that is put back from a backup a new epoch of it.

    What was accepted after the backup is unknown to it: cursors of the old epoch are good up
    to its head at most, and new ids start above all that may have been handed out.

    Args:
        given: the highest id that the log in whose place it is put has given.
    """
    file = LogFile(path)
    try:
        positions = load(file)
        base = above_all_given(file, given)
        file.set_metas(begin_epoch(positions, head_of(file, positions))._replace(base=base).meta())
    finally:
        file.close()


def _begin_anew(file: LogFile) -> None:
    positions = load(file)
    known = max(head_of(file, positions), positions.stored)
    base = above_all_given(file)
    positions = begin_epoch(positions, known)
    positions = positions._replace(base=base, hole=joined(positions.hole, (known, base)))
    file.set_metas(positions.meta())
