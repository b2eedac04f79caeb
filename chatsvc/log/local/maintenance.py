"""What an open log does beside its commits, once a second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.local.key_file import SavedKeys
from chatsvc.log.local.opening import OpenedFile, store_epoch
from chatsvc.log.local.refusals import DISK, Refusals, watch_place
from chatsvc.log.local.store_positions import StorePositions
from chatsvc.log.local.worker import Worker

_TRIM_ROWS: Final = 1000
_DROP_MEMBERSHIPS: Final = 1000
_SECONDS: Final = 1.0
_SAVE_ELAPSED_SECONDS: Final = 60.0

_logger = structlog.get_logger("chatsvc.log")


class Maintenance:
    """Looks at the disk and the file, notes the time, saves, forgets keys, and trims.

    It begins with the next turn of the loop, in a task of its own.

    Args:
        opened: the log.
        positions: saved here, and trimmed by.
        worker: the log's thread.
        refusals: told of a disk that is nearly full, and of a file that is gone.
        window_seconds: how long keys are remembered.
        retention_seconds: how long records are kept in the file, at least that.
        min_free_bytes: of the disk; with less nothing is accepted.
    """

    def __init__(
        self,
        opened: OpenedFile,
        positions: StorePositions,
        worker: Worker,
        refusals: Refusals,
        *,
        window_seconds: float,
        retention_seconds: float,
        min_free_bytes: int,
    ) -> None:
        self._file = opened.file
        self._tail = opened.tail
        self._keys = opened.keys
        self._elapsed = opened.elapsed
        self._saved_keys = SavedKeys(opened.file, opened.keys)
        self._place = InPlace(opened.file.path)
        self._positions = positions
        self._worker = worker
        self._refusals = refusals
        self._window_seconds = window_seconds
        self._retention_seconds = retention_seconds
        self._min_free_bytes = min_free_bytes
        self._loop = asyncio.get_running_loop()
        self._elapsed_saved_at = self._loop.time()
        self.window_end = opened.elapsed.older_than(window_seconds)
        """What was accepted up to here is older than the window of client ids."""
        self._task = self._loop.create_task(self._run_each_second(), name="log maintenance")

    def stop(self) -> None:
        """Do nothing more by itself. Idempotent."""
        self._task.cancel()

    def save(self) -> None:
        """Save all that the next start would otherwise find out anew, or take for younger."""
        self._elapsed.note(self._tail.head)
        self._save_elapsed()
        self._save_keys()
        self._positions.save()

    def run(self) -> None:
        """What is due once a second."""
        self._look_at_disk()
        self._elapsed.note(self._tail.head)
        if self._loop.time() - self._elapsed_saved_at >= _SAVE_ELAPSED_SECONDS:
            self._save_elapsed()
        self._forget_keys()
        watch_place(self._place, self._refusals)
        self._worker.maintain(lambda: unless_unavailable(self._file.shrink_wal))
        self._positions.save()
        self._trim()
        floor = self._tail.floor
        self._worker.maintain(
            lambda: unless_unavailable(self._file.drop_ended, floor, _DROP_MEMBERSHIPS)
        )

    async def _run_each_second(self) -> None:
        while True:
            self.run()
            await asyncio.sleep(_SECONDS)

    def _look_at_disk(self) -> None:
        try:
            disk = os.statvfs(self._file.path.parent)
        except OSError as exc:
            _logger.error("disk_not_readable", error=str(exc))
            return
        free = disk.f_bavail * disk.f_frsize
        if free >= self._min_free_bytes:
            if self._refusals.end(DISK):
                _logger.info("disk_space_recovered", free_bytes=free)
            return
        error = LogUnavailable("the log's disk is nearly full", code="disk_full", retry_after=5.0)
        if self._refusals.begin(DISK, error):
            _logger.error("disk_space_low", free_bytes=free)

    def _save_elapsed(self) -> None:
        """Now and then: what was noted since the last time only counts as younger."""
        self._elapsed_saved_at = self._loop.time()
        saved = self._elapsed.save().decode()
        self._worker.maintain(lambda: unless_unavailable(self._file.set_meta, "elapsed", saved))

    def _forget_keys(self) -> None:
        self.window_end = self._elapsed.older_than(self._window_seconds)
        self._keys.forget(self.window_end, self._tail.stored)

    def _save_keys(self) -> None:
        """Now and then: what was forgotten since the last time is only read back."""
        epoch = store_epoch(self._positions.epoch, self._positions.store)
        save = self._saved_keys.prepare(epoch, self._loop.time())
        self._worker.maintain(lambda: unless_unavailable(save))

    def _trim(self) -> None:
        up_to = min(self._tail.stored, self._elapsed.older_than(self._retention_seconds))
        if self._saved_keys.is_due(self._loop.time(), up_to):
            self._save_keys()
        self._positions.trim(min(up_to, self._saved_keys.position), _TRIM_ROWS)


def unless_unavailable(call: Callable[..., object], *args: object) -> object:
    """Call; what fails for want of room is done again later."""
    try:
        return call(*args)
    except LogUnavailable as exc:
        _logger.warning("log_maintenance_delayed", error=str(exc))
        return None
