"""How long messages are kept, and their deletion afterwards.

A message is too old when the log's head has been above it for so long, in time that was
lived through: what a wall clock says that is wrong for a minute would delete for good. Nor
do the ids' own times count: they are a clock's, too, of the moment of sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.log.tail import Tail
from chatsvc.storage.ports.messages import MessagePurger

_DAY_SECONDS: Final = 86_400
_BATCH: Final = 1000

_logger = structlog.get_logger("chatsvc.retention")


class Expiry:
    """Which messages are too old.

    Args:
        days: ``MESSAGE_RETENTION_DAYS``; 0 keeps everything.
        older_than: the highest position that is at least so many seconds old, 0 if there is
            none (:meth:`~chatsvc.log.base.LogReader.older_than`).
    """

    def __init__(self, days: int, older_than: Callable[[float], int]) -> None:
        self.days = days
        self._older_than = older_than

    def oldest_kept(self) -> int:
        """The lowest id that is still kept now; 0 keeps everything."""
        if not self.days:
            return 0
        expired = self._older_than(self.days * _DAY_SECONDS)
        return expired + 1 if expired else 0


KEEP_EVERYTHING: Final = Expiry(0, lambda _: 0)


class Retention:
    """Deletes what is too old, now and then; nothing where everything is kept.

    Args:
        store: the store.
        tail: the log's: what the store does not hold yet is not deleted.
        expiry: what is too old.
        every_seconds: between two sweeps.
        pause_seconds: between two batches of a sweep, for writes to come between.
    """

    def __init__(
        self,
        store: MessagePurger,
        tail: Tail,
        expiry: Expiry,
        *,
        every_seconds: float = 3600.0,
        pause_seconds: float = 0.05,
    ) -> None:
        self._store = store
        self._tail = tail
        self._expiry = expiry
        self._every = every_seconds
        self._pause = pause_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in a task of its own; nothing to do where everything is kept."""
        if self._expiry.days and self._task is None:
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
        before = min(self._expiry.oldest_kept(), self._tail.stored + 1)
        if not before:
            return 0
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
