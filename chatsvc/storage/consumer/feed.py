"""The records that a consumer has not done yet: from the log's tail, its file, or the store.

The log trims what is stored, whatever other consumers have done. What it has not any more is read
from the store, which has all of it, but of a kind that is ``latest`` the newest alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chatsvc.core.record import Record
from chatsvc.log.base import LogReader
from chatsvc.storage.ports.projections import RecordScan

BATCH_BYTES: Final = 4 * 1024 * 1024


class LogFeed:
    """The records above a position, in order.

    Args:
        log: read from its tail, and below that from its file.
        store: read where the log begins above the position.
        position: everything up to it is done.
        batch: records in one go.
    """

    def __init__(
        self, log: LogReader, store: RecordScan, position: int, *, batch: int = 500
    ) -> None:
        self._log = log
        self._store = store
        self._batch = batch
        self.position = position

    def has_work(self) -> bool:
        """Whether there may be a record above the position."""
        return self.position < self._log.tail.head

    def is_full(self) -> bool:
        """Whether there is enough for a batch."""
        return len(self._log.tail.batch(self.position, self._batch, BATCH_BYTES)) >= self._batch

    def advance(self, position: int) -> None:
        """Note that everything up to here is done."""
        self.position = max(self.position, position)

    async def next(self) -> Sequence[Record]:
        """The oldest records above the position; none where there are none.

        Raises:
            LogDamaged: the log's file does not hold what was written.
            StoreUnavailable: the store is needed, and does not answer.
        """
        tail = self._log.tail
        while self.position < (floor := tail.floor):
            records = await self._below_the_tail(floor)
            if records:
                return records
            self.advance(floor)
        found = tail.batch(self.position, self._batch, BATCH_BYTES)
        if not found:
            self.advance(tail.head)  # up to there ids were given to nothing
        return found

    async def _below_the_tail(self, floor: int) -> Sequence[Record]:
        position = self.position
        records = await self._log.read(position, floor, self._batch, BATCH_BYTES)
        if await self._log.read(0, position, 1, 1):
            return records  # the file has what is older than the position, so all that is newer
        up_to = records[0].id - 1 if records else floor
        return await self._store.scan(position, up_to, self._batch, BATCH_BYTES) or records


class AlwaysThere:
    """The target of a consumer that has nothing to be asked whether it answers."""

    must_look = False
    is_back = False

    async def answers(self) -> bool:
        """Whether it answers."""
        return True
