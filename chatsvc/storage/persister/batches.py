"""Which records are stored next."""

from __future__ import annotations

from typing import Final

from chatsvc.core.ids import format_id
from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.record import Record
from chatsvc.log.base import StoreFeed
from chatsvc.storage.letter_records import taken_by_letters
from chatsvc.storage.ports.dead_letters import HasDeadLetters

BEHIND_BATCH: Final = 5000
BEHIND_BYTES: Final = 4 * 1024 * 1024
REFILL_BATCH: Final = 1000
REFILL_BYTES: Final = 1024 * 1024
"""Read from the log's file at once, in the thread in which commits wait meanwhile."""


class UnknownKind(Exception):
    """The next record is of a kind that this program cannot store."""


class BatchSource:
    """The records of the log above a position, in order.

    Args:
        log: read from its tail, and from its file what a store lacks that another had.
        store: whose dead letters may have ids of the records.
        batch: messages in one go while keeping up.
        kinds: those that the store takes.
    """

    def __init__(
        self, log: StoreFeed, store: HasDeadLetters, batch: int, kinds: Kinds = MESSAGES_ONLY
    ) -> None:
        self._kinds = kinds
        self._log = log
        self._store = store
        self._batch = batch
        self.position = log.store_from
        """Everything up to here is stored, or there is nothing to store."""

    def restart(self) -> None:
        """Begin where the log was attached to the store."""
        self.position = self._log.store_from

    def advance(self, position: int) -> None:
        """Note that everything up to here is stored."""
        self._log.advance_watermark(position)
        self.position = position

    def has_work(self) -> bool:
        """Whether there may be something to store."""
        tail = self._log.tail
        return tail.unsaved_count > 0 or self.position < tail.watermark

    def is_full(self) -> bool:
        """Whether there is enough for a batch."""
        return self._log.tail.unsaved_count >= self._batch

    async def next(self) -> list[Record]:
        """The next batch; what has the id of a dead letter of another message is placed anew.

        Raises:
            UnknownKind: it begins with a record that this program cannot store.
        """
        while True:
            records = await self._next_batch()
            tail = self._log.tail
            up_to = tail.base  # above it the store holds nothing that is not of this log
            if not records or records[0].id > up_to:
                return records  # the usual case
            suspects = [one for one in records if tail.stored < one.id <= up_to]
            taken = await taken_by_letters(self._store.dead_letters, suspects)
            if not taken:
                return records
            await self._log.readmit(taken)

    async def _next_batch(self) -> list[Record]:
        """The oldest to store, up to the first of a kind that this program cannot store."""
        tail = self._log.tail
        records: list[Record] = []
        if self.position < tail.floor:
            up_to = tail.watermark
            records = await self._log.read(self.position, up_to, REFILL_BATCH, REFILL_BYTES)
            if not records:
                self._pass(up_to)
        if not records:
            limit = self._batch if tail.unsaved_count <= self._batch else BEHIND_BATCH
            records = tail.batch(self.position, limit, BEHIND_BYTES)
        if not records:
            self._pass(tail.watermark)
        for index, record in enumerate(records):
            if record.kind not in self._kinds:
                if index == 0:
                    raise UnknownKind(
                        f"record {format_id(record.id)} is of kind {record.kind!r}, which this "
                        "program does not know: run the version that wrote it, or a newer one"
                    )
                return records[:index]
        return records

    def _pass(self, position: int) -> None:
        """There is nothing to store up to here."""
        self.position = max(self.position, position)
        self._log.advance_watermark(self.position)
