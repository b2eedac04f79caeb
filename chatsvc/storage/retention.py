"""How long messages are kept, and their deletion afterwards."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id, id_at, now_ms
from chatsvc.log.tail import Tail
from chatsvc.storage.base import MessageStore

_DAY_MS: Final = 86_400_000
_BATCH: Final = 1000

_logger = structlog.get_logger("chatsvc.retention")


def oldest_kept(days: int) -> int:
    """The lowest id that is still kept now; 0 keeps everything."""
    return id_at(max(now_ms() - days * _DAY_MS, 0)) if days else 0


class Retention:
    """Deletes what is older than ``days``, now and then; 0 days deletes nothing.

    Args:
        store: the store.
        tail: the log's: what lies above its watermark is not stored yet, and not deleted.
        days: ``MESSAGE_RETENTION_DAYS``.
        every_seconds: between two sweeps.
        pause_seconds: between two batches of a sweep, for writes to come between.
    """

    def __init__(
        self,
        store: MessageStore,
        tail: Tail,
        days: int,
        *,
        every_seconds: float = 3600.0,
        pause_seconds: float = 0.05,
    ) -> None:
        self._store = store
        self._tail = tail
        self._days = days
        self._every = every_seconds
        self._pause = pause_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in a task of its own; nothing to do where everything is kept."""
        if self._days and self._task is None:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """Idempotent. A batch under way is finished by the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def sweep(self) -> int:
        """Delete all that is due; how many messages went.

        Raises:
            StoreUnavailable: what is left goes with the next sweep.
        """
        if not self._days:
            return 0
        before = min(oldest_kept(self._days), self._tail.watermark + 1)
        deleted = 0
        while count := await self._store.purge(before, limit=_BATCH):
            deleted += count
            await asyncio.sleep(self._pause)
        if deleted:
            _logger.info("messages_expired", count=deleted, before_id=format_id(before))
        return deleted

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except StoreUnavailable as exc:
                _logger.warning("retention_delayed", error=str(exc))
            except Exception:  # the next sweep is due whatever this one met
                _logger.exception("retention_failed")
            await asyncio.sleep(self._every)
