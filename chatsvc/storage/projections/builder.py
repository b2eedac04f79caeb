"""Projections built from what a store has already, and old removals forgotten.

One that is new, that was declared otherwise or that was begun anew is at position 0, and one that
a program stored beside without folding is below the store's watermark. Its records are folded from
the store, a bounded part at a time, while new ones are folded as they are stored: either may come
first. The position moves with each part, so a process that ends goes on there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.projection import Projections
from chatsvc.log.base import StoreFeed
from chatsvc.storage.ports.dead_letters import HasDeadLetters
from chatsvc.storage.ports.projections import HasProjections, RecordScan
from chatsvc.storage.ports.watermark import StoreWatermark
from chatsvc.storage.projections.folding import FoldFailed, fold
from chatsvc.storage.projections.progress import Progress, end_of
from chatsvc.storage.projections.status import BuildingStatus

STEP_RECORDS: Final = 500
STEP_BYTES: Final = 1024 * 1024
"""Of the records that are folded at once, on the loop."""
_PURGED_AT_ONCE: Final = 1000

_logger = structlog.get_logger("chatsvc.projections")


class BuildingStore(HasProjections, HasDeadLetters, RecordScan, StoreWatermark, Protocol):
    """A store, as far as its projections are built."""


class ProjectionBuilder:
    """Builds the projections of one store.

    Args:
        store: the store.
        log: what it holds may be stored again, so the removals of that are kept. It is told
            from where on it has to know what was touched.
        projections: their declarations.
        moved: called when a position may have moved.
        look_seconds: how often to look whether one is behind.
        purge_seconds: between two times that old removals are forgotten.
        pause_seconds: between two parts, for writes to come between.
    """

    def __init__(
        self,
        store: BuildingStore,
        log: StoreFeed,
        projections: Projections,
        *,
        moved: Callable[[], None] = lambda: None,
        look_seconds: float = 10.0,
        purge_seconds: float = 3600.0,
        pause_seconds: float = 0.01,
    ) -> None:
        self._store = store
        self._log = log
        self._projections = projections
        self._moved = moved
        self._look_seconds = look_seconds
        self._purge_seconds = purge_seconds
        self._pause = pause_seconds
        self.status = BuildingStatus(projections.names)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in a task of its own; nothing to do where there is no projection."""
        if self._projections and self._task is None:
            self._task = asyncio.create_task(self._run(), name="projections")

    async def stop(self) -> None:
        """Idempotent. A part under way is finished by the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def build(self) -> None:
        """Fold whatever the projections lack of what the store has.

        One that cannot fold a record stays below it, and holds up no other.

        Raises:
            StoreUnavailable: what is left is folded by the next call.
        """
        for one in self._projections:
            try:
                await self._build(one.name)
            except StoreUnavailable:
                raise
            except Exception as exc:  # whatever it is, it is about this projection
                foreseen = isinstance(exc, FoldFailed)
                error = str(exc) if foreseen else type(exc).__name__
                if self.status.failed(one.name, error):
                    _logger.error(
                        "projection_not_built",
                        projection=one.name,
                        error=error,
                        exc_info=None if foreseen else exc,
                    )

    async def _build(self, name: str) -> None:
        steps = 0
        while await self.step(name):
            self.status.succeeded(name)
            steps += 1
            await asyncio.sleep(self._pause)
        self.status.succeeded(name)
        if steps:
            _logger.info("projection_built", projection=name)

    async def step(self, name: str) -> bool:
        """Fold the next part that a projection lacks; whether it lacked one.

        Raises:
            StoreUnavailable: as :meth:`build`.
            FoldFailed: it cannot fold a record.
        """
        store = self._store
        end = await end_of(store)
        position = await store.projections.position(name)
        self.status.saw(name, Progress(position, end))
        self._log.hold_touches(self.status.lowest)
        if position >= end:
            return False
        records = await store.scan(position, end, STEP_RECORDS, STEP_BYTES)
        self.status.saw(name, Progress(position, end, records[0].id if records else None))
        changes = fold(self._projections[name], records)
        up_to = records[-1].id if records else end
        await store.projections.catch_up(name, changes, position, up_to)
        self._moved()
        return True

    async def purge(self) -> int:
        """Forget the removals of records that cannot come again; how many went.

        Raises:
            StoreUnavailable: what is left goes with the next call.
        """
        before = await self._lowest_to_come()
        deleted = 0
        while count := await self._store.projections.purge(before, _PURGED_AT_ONCE):
            deleted += count
            await asyncio.sleep(self._pause)
        if deleted:
            _logger.info("removals_forgotten", count=deleted, before_id=format_id(before))
        return deleted

    async def _lowest_to_come(self) -> int:
        """The lowest id of what may be stored again: from the log, or from a dead letter."""
        head = self._log.tail.head
        oldest = await self._log.read(0, head, 1, 1)
        letters = await self._store.dead_letters.list(limit=1)
        ids = [one.id for one in oldest[:1]] + [one.id for one in letters[:1]]
        return min(ids, default=head)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        purge_at = loop.time()
        while True:
            try:
                await self.build()
                if loop.time() >= purge_at:
                    await self.purge()
                    purge_at = loop.time() + self._purge_seconds
            except StoreUnavailable as exc:
                _logger.debug("projections_delayed", error=str(exc))
            except Exception:  # whatever it is, the next look is due
                _logger.exception("projections_failed")
            await asyncio.sleep(self._look_seconds)
