"""The positions of an open log and its store: attaching, saving, trimming, reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record
from chatsvc.log.base import EpochListener
from chatsvc.log.local.attachment import Attachment, attach, begin_epoch, knows
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import Positions, trimmed_of
from chatsvc.log.local.worker import Worker, call_in_thread
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.state import StateDue
from chatsvc.log.tail import Tail

T = TypeVar("T")

MIN_EPOCH_SECONDS: Final = 60.0
"""A running log begins no more than one new epoch in this time: two services that write to
one store would otherwise reset each other's clients without end."""

_logger = structlog.get_logger("chatsvc.log")


class StorePositions:
    """Up to where an open log is stored, and in which store. For the loop's thread.

    Args:
        file: the log's; touched by its thread alone.
        attachment: what the file says.
        attached_store: the store that was attached at the opening, if one was.
        tail: follows what is decided here.
        worker: the log's thread.
        reserve: no id up to this one may be given to anything any more.
        unseen: up to this position the store may hold what the log does not. Told in the step in
            which the tail is.
        state_due: told in the same step what has to be done to the log's own state.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        file: LogFile,
        attachment: Attachment,
        *,
        attached_store: StoreState | None,
        tail: Tail,
        worker: Worker,
        reserve: Callable[[int], None],
        unseen: Callable[[int], None],
        state_due: Callable[[StateDue], None],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._file = file
        self._positions = attachment.positions
        self._tail = tail
        self._worker = worker
        self._reserve = reserve
        self._unseen = unseen
        self._on_state_due = state_due
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._saved = attachment.positions  # owned by the log's thread
        self._epoch_began: float | None = None
        self._changing = 0
        self._read = 0, 0  # the last id of a batch from the file, and how many it had
        self._epoch_listeners: list[EpochListener] = []
        self.attached_store = attached_store
        self.begin = attachment.begin
        self.refill = attachment.refill

    @property
    def epoch(self) -> str:
        """Which epoch of the log this is."""
        return self._positions.epoch

    @property
    def store(self) -> str | None:
        """The name of the store that is being filled, ``None`` before one was attached."""
        return self._positions.store

    @property
    def epochs(self) -> tuple[EpochEntry, ...]:
        """The epochs that are remembered, the present one last."""
        return self._positions.epochs

    @property
    def state_due(self) -> StateDue:
        """What has to be done to the log's own state."""
        return self._positions.state_due

    @property
    def stored_position(self) -> int:
        """Up to here the store has everything."""
        return self._tail.stored

    async def set_state_due(self, due: StateDue) -> None:
        """What had to be done to the log's own state is done; ``due`` is what follows."""

        def work() -> None:
            self._file.set_metas({"state_due": due, "state_dropped": 0})
            self._saved = self._saved._replace(state_due=due)

        def apply(_: None) -> None:
            self._positions = self._positions._replace(state_due=due)

        await self._change(work, apply)

    def on_new_epoch(self, call: EpochListener) -> None:
        """Call when a new epoch begins while the log is open."""
        self._epoch_listeners.append(call)

    async def attach(self, store: StoreState) -> None:
        """Find out what the store holds of this log, and go by it from now on.

        Raises:
            StoreUnavailable: it holds what is not this log's for the second time in a
                minute: somebody else writes to it.
            LogUnavailable: what follows could not be kept; nothing follows then.
        """
        self._reserve(store.extent)
        tail = self._tail
        before = self._now()
        empty = tail.head == before.trimmed
        # Of a log that was confirmed the store can only know more below what it is behind by.
        differ = before.stored if store.extent > before.stored else before.start
        floor = tail.floor
        recent = (
            self._epoch_began is not None and self._clock() - self._epoch_began < MIN_EPOCH_SECONDS
        )
        suspect = recent and store.identity == before.store
        suspect = suspect and store.extent > max(before.stored, before.base)

        def work() -> Attachment:
            if suspect and not knows(self._file, store):
                raise StoreUnavailable(
                    "another service writes to this store: every service needs one of its own"
                )
            trimmed = min(trimmed_of(self._file), floor)  # what is in memory is stored from there
            attachment = attach(
                self._file, before, store, trimmed=trimmed, empty=empty, differ=differ
            )
            self._saved = attachment.positions
            return attachment

        def apply(attachment: Attachment) -> None:
            positions = self._positions = attachment.positions
            tail.set_store_positions(
                stored=positions.stored, base=positions.base, hole=positions.hole
            )
            self._unseen(positions.base)
            self._on_state_due(positions.state_due)
            self.attached_store, self.begin, self.refill = (
                store,
                attachment.begin,
                attachment.refill,
            )
            if attachment.reconciliation is not None and attachment.reconciliation.ahead:
                self._announce()

        await self._change(work, apply)

    async def readmit(
        self,
        records: Sequence[Record],
        placed: Sequence[Record],
        added: Callable[[Sequence[Record]], None],
    ) -> None:
        """Give records another place: the store holds something else under their ids.

        That happens where an older log was put back, and went on before the store was
        attached again. Both messages were acknowledged, so both stay: the one that the store holds
        keeps the id, and a new epoch begins, for there is something below its head that
        nobody was sent.

        Args:
            placed: the same records with ids that were reserved for them.
            added: called with them once they are durable, before anything that is appended later.
        """
        tail = self._tail
        ids = [record.id for record in records]
        positions = begin_epoch(self._now(), min(ids) - 1)
        positions = positions._replace(base=max(positions.base, *ids))

        def work() -> list[Record]:
            kept = self._file.replace(ids, placed, positions.meta())
            self._saved = positions
            return kept

        def apply(kept: list[Record]) -> None:
            self._positions = positions
            for record_id in ids:
                tail.drop(record_id)
            tail.set_store_positions(
                stored=tail.stored,
                base=positions.base,
                hole=positions.hole,
                confirmed=tail.confirmed,
            )
            self._unseen(positions.base)
            added(kept)
            self._announce()

        await self._change(work, apply)
        for record, one in zip(records, placed, strict=True):
            _logger.error("id_conflict", message_id=format_id(record.id), now=format_id(one.id))

    def save(self) -> None:
        """Keep the watermark, lazily: a lower one only means storing again what is stored."""
        now = self._now()
        if self._changing or now == self._saved:
            return  # what is believed of the store is about to change: not before that

        def work() -> None:
            try:
                marks = {"watermark": now.stored, "settled": now.settled, "marked": int(now.marked)}
                self._file.set_metas(marks)
            except LogUnavailable as exc:
                _logger.warning("watermark_not_saved", error=str(exc))
            else:
                self._saved = self._saved._replace(
                    stored=now.stored, settled=now.settled, marked=now.marked
                )

        self._worker.maintain(work)

    def trim(self, up_to: int, rows: int) -> None:
        """Delete from the file what is old enough, stored, and known to be so after a crash."""

        def work() -> None:
            try:
                limit = min(up_to, self._saved.stored)
                again = self._file.trim(limit, rows) == rows
            except LogUnavailable as exc:
                _logger.warning("log_not_trimmed", error=str(exc))
            else:
                if again:
                    self._worker.maintain(work)

        self._worker.maintain(work)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        """A batch from the file, of what the tail may no longer hold.

        Raises:
            LogDamaged: a row of it is not what was written.
        """
        found = await call_in_thread(
            lambda: self._file.batch(after, up_to, limit, max_bytes), self._worker.maintain
        )
        self._read = found[-1].id if found else 0, len(found)
        return found

    def stored(self, position: int) -> None:
        """The store has everything up to here, and says so; so much less is to be filled."""
        if not self._positions.marked:
            self._positions = self._positions._replace(marked=True)
        last, count = self._read
        if position == last:
            self.refill = max(0, self.refill - count)
            self._read = 0, 0

    async def _change(self, work: Callable[[], T], apply: Callable[[T], object]) -> None:
        self._changing += 1

        def done(result: T | Exception) -> None:
            self._changing -= 1
            if not isinstance(result, Exception):
                apply(result)

        # In turn with the commits: ids that were given before are in the tail when it is done.
        await call_in_thread(work, self._worker.commit, done)

    def _now(self) -> Positions:
        return self._positions._replace(stored=self._tail.stored, settled=self._tail.watermark)

    def _announce(self) -> None:
        self._epoch_began = self._clock()
        for call in self._epoch_listeners:
            try:
                call(self.epochs)
            except Exception:
                # The epoch has begun, and the file says so: the others must hear of it.
                _logger.exception("epoch_listener_failed", epoch=self.epoch)
