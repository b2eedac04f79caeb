"""A batch stored: what the store refuses is placed anew or becomes a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id, now_ms
from chatsvc.core.record import Record, pack
from chatsvc.log.base import StoreFeed
from chatsvc.log.reconcile import fingerprint
from chatsvc.storage.bodies import DIGEST_CONFLICT
from chatsvc.storage.letter_records import taken_by_records
from chatsvc.storage.persister.attached_store import AttachedStore
from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.ports.dead_letters import DeadLetter, HasDeadLetters
from chatsvc.storage.ports.messages import MessageWriter, Rejection
from chatsvc.storage.ports.records import RecordReader

_logger = structlog.get_logger("chatsvc.persister")


class WritableStore(MessageWriter, RecordReader, HasDeadLetters, Protocol):
    """A store, as far as batches are written to it."""


class BatchWriter:
    """Writes batches, each with its dead letters and the store's watermark.

    Args:
        log: gives other ids to records whose ids are taken in the store.
        store: written to.
        attached: the same store, whose watermark is advanced.
        events: told of dead letters.
    """

    def __init__(
        self,
        log: StoreFeed,
        store: WritableStore,
        attached: AttachedStore,
        events: PersisterEvents,
    ) -> None:
        self._log = log
        self._store = store
        self._attached = attached
        self._events = events
        self._doubted = 0  # the first id of a batch that is stored again

    async def write(self, records: Sequence[Record]) -> int:
        """Store a batch; return how many of it were not stored as they are.

        Raises:
            StoreMoved: the store's watermark is not what was set last.
            StoreUnavailable: any part of the batch may have been stored.
        """
        losses = self._attached.losses
        rejected = await self._write(records)
        if losses != self._attached.losses and self._doubted != records[0].id:
            # It may be an older copy since then, which has the mark and not all of the batch.
            # Once is enough: a store that is slow to answer would never be done.
            self._doubted = records[0].id
            raise StoreUnavailable("the store did not answer while a batch was stored")
        return rejected

    async def _write(self, records: Sequence[Record]) -> int:
        rejections = await self._store.write(records)
        stored = self._log.tail.stored
        # Stored again for good measure, at or below it: what was refused then was put aside.
        rejections = [one for one in rejections if one.record.id > stored]
        replaced = [one.record for one in rejections if one.code == DIGEST_CONFLICT]
        refused = [one for one in rejections if one.code != DIGEST_CONFLICT]
        # Refused before it was seen that the store has something else there.
        suspects = [one.record for one in refused if one.record.id <= self._log.tail.base]
        replaced += await taken_by_records(self._store, suspects)
        if replaced:
            await self._log.readmit(replaced)
            refused = [one for one in refused if one.record not in replaced]
        if refused:
            await self._write_dead_letters(refused)
        last = records[-1]
        content = "" if last in replaced else fingerprint(last.body)
        await self._attached.advance(last.id, content)
        return len(rejections)

    async def _write_dead_letters(self, rejections: Sequence[Rejection]) -> None:
        at_ms = now_ms()
        await self._store.dead_letters.put(
            [
                DeadLetter(record.id, code, reason, at_ms, pack(record))
                for record, code, reason in rejections
            ]
        )
        for record, code, reason in rejections:
            _logger.error("dead_letter", message_id=format_id(record.id), code=code, reason=reason)
        self._events.dead_lettered(len(rejections))
