"""Where the log stands against its store, kept in its file: positions, meetings, new epochs.

What is believed of the store changes only here, and each change is durable before anything
is stored by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import structlog

from chatsvc.core.errors import LogDamaged, LogUnavailable, StoreUnavailable
from chatsvc.core.ids import format_id, now_ms
from chatsvc.core.record import Record, checksum, pack
from chatsvc.log.base import EpochListener
from chatsvc.log.local.database import new_epoch
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.positions import Positions, remembered, trimmed_of
from chatsvc.log.local.worker import Job, Worker
from chatsvc.log.reconcile import (
    EpochEntry,
    LogState,
    Meeting,
    StoreState,
    equal_json,
    fingerprint,
    reconcile,
)
from chatsvc.log.tail import Tail

T = TypeVar("T")

MIN_EPOCH_SECONDS: Final = 60.0
"""A running log begins no more than one new epoch in this time: two services that write to
one store would otherwise reset each other's clients without end."""

_logger = structlog.get_logger("chatsvc.log")


class Settled(NamedTuple):
    """A meeting, if there was one, and what the file says since.

    ``begin`` is where storing goes on from; ``refill`` counts records that were stored once,
    and not in this store.
    """

    positions: Positions
    meeting: Meeting | None
    begin: int
    refill: int


def settle(
    file: LogFile,
    positions: Positions,
    store: StoreState,
    *,
    trimmed: int,
    empty: bool,
    differ: int,
) -> Settled:
    """Let the log meet a store, and keep in its file what follows. Blocks.

    Args:
        trimmed: nothing up to here can be stored again.
        empty: whether the log has accepted nothing yet.
        differ: if a new epoch begins, it may differ from the one before it above this, or
            from where an earlier opening could not be confirmed.
    """
    log = LogState(
        positions.store,
        positions.stored,
        positions.start,
        trimmed,
        positions.base,
        empty,
        positions.epochs,
        positions.hole,
        positions.marked,
        positions.removed,
    )
    meeting = reconcile(log, store, known=_knows(file, store))
    begin = stored = meeting.stored
    if meeting.margin:
        begin = max(file.below(stored, meeting.margin), trimmed)
    if meeting.behind or meeting.ahead:
        stored = min(stored, begin)  # what the margin covers is not believed either
    generation = store.mark.generation if store.mark is not None else 0
    if meeting.ahead:
        positions = begin_epoch(positions, differ, above=generation)
    elif log.store is None and generation >= positions.epochs[-1].generation:
        # Nothing was stored of this epoch yet: it is counted from the store's.
        entry = positions.epochs[-1]._replace(generation=generation + 1)
        positions = positions._replace(epochs=(*positions.epochs[:-1], entry))
    positions = positions._replace(
        store=store.identity,
        stored=stored,
        base=meeting.base,
        hole=meeting.hole,
        unconfirmed=None,
        marked=positions.marked and not meeting.another,
    )
    file.set_metas(positions.meta())
    _log_meeting(log, store, positions, meeting)
    refill = file.count_between(stored, positions.settled)
    return Settled(positions, meeting, min(begin, stored), refill)


class Standing:
    """The positions of an open log. For the loop's thread.

    Args:
        file: the log's; touched by its thread alone.
        settled: what the file says.
        met: the store that was met at the opening, if one was.
        tail: follows what is decided here.
        worker: the log's thread.
        reserve: no id up to this one may be given to anything any more.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        file: LogFile,
        settled: Settled,
        *,
        met: StoreState | None,
        tail: Tail,
        worker: Worker,
        reserve: Callable[[int], None],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._file = file
        self._positions = settled.positions
        self._tail = tail
        self._worker = worker
        self._reserve = reserve
        self._loop = asyncio.get_running_loop()
        self._clock = clock or self._loop.time
        self._saved = settled.positions  # owned by the log's thread
        self._epoch_began: float | None = None
        self._changing = 0
        self._read = 0, 0  # the last id of a batch from the file, and how many it had
        self._epoch_listeners: list[EpochListener] = []
        self.met = met
        self.begin = settled.begin
        self.refill = settled.refill

    @property
    def epoch(self) -> str:
        """Which epoch of the log this is."""
        return self._positions.epoch

    @property
    def store(self) -> str | None:
        """The name of the store that is being filled, ``None`` before one was met."""
        return self._positions.store

    @property
    def epochs(self) -> tuple[EpochEntry, ...]:
        """The epochs that are remembered, the present one last."""
        return self._positions.epochs

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

        def work() -> Settled:
            if suspect and not _knows(self._file, store):
                raise StoreUnavailable(
                    "another service writes to this store: every service needs one of its own"
                )
            trimmed = min(trimmed_of(self._file), floor)  # what is in memory is stored from there
            settled = settle(self._file, before, store, trimmed=trimmed, empty=empty, differ=differ)
            self._saved = settled.positions
            return settled

        def apply(settled: Settled) -> None:
            positions = self._positions = settled.positions
            tail.confront(stored=positions.stored, base=positions.base, hole=positions.hole)
            self.met, self.begin, self.refill = store, settled.begin, settled.refill
            if settled.meeting is not None and settled.meeting.ahead:
                self._announce()

        await self._change(work, apply)

    async def readmit(
        self, records: Sequence[Record], placed: Sequence[Record], added: Callable[[], None]
    ) -> None:
        """Give records another place: the store holds something else under their ids.

        That happens where an older log was put back, and went on before it met the store
        again. Both messages were acknowledged, so both stay: the one that the store holds
        keeps the id, and a new epoch begins, for there is something below its head that
        nobody was sent.

        Args:
            placed: the same records with ids that were reserved for them.
            added: called once they are durable, before anything that is appended later.
        """
        tail = self._tail
        ids = [record.id for record in records]
        positions = begin_epoch(self._now(), min(ids) - 1)
        positions = positions._replace(base=max(positions.base, *ids))
        rows = [(one.id, checksum(one.id, data := pack(one)), data) for one in placed]

        def work() -> None:
            self._file.replace(ids, rows, positions.meta())
            self._saved = positions

        def apply(_: None) -> None:
            self._positions = positions
            for record_id in ids:
                tail.drop(record_id)
            tail.confront(
                stored=tail.stored,
                base=positions.base,
                hole=positions.hole,
                confirmed=tail.confirmed,
            )
            added()
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
        found = await self.in_thread(
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

    async def in_thread(
        self,
        work: Callable[[], T],
        run: Callable[[Job], None],
        done: Callable[[T | Exception], None] | None = None,
    ) -> T:
        """Do ``work`` in the log's thread, then tell ``done`` in the loop's.

        Whether or not the caller still waits.

        Args:
            run: one of the worker's: in turn with the commits, or when there is none.
        """
        future: asyncio.Future[T] = self._loop.create_future()

        def finish(result: T | Exception) -> None:
            try:
                if done is not None:
                    done(result)
            finally:
                if not future.done():  # its caller may have been cancelled meanwhile
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)

        def job() -> None:
            result: T | Exception
            try:
                result = work()
            except Exception as exc:  # noqa: BLE001 - it is the caller's, in the other thread
                result = exc
            self._loop.call_soon_threadsafe(finish, result)

        run(job)
        return await future

    async def _change(self, work: Callable[[], T], apply: Callable[[T], object]) -> None:
        self._changing += 1

        def done(result: T | Exception) -> None:
            self._changing -= 1
            if not isinstance(result, Exception):
                apply(result)

        # In turn with the commits: ids that were given before are in the tail when it is done.
        await self.in_thread(work, self._worker.commit, done)

    def _now(self) -> Positions:
        return self._positions._replace(stored=self._tail.stored, settled=self._tail.watermark)

    def _announce(self) -> None:
        self._epoch_began = self._clock()
        for call in self._epoch_listeners:
            call(self.epochs)


def _knows(file: LogFile, store: StoreState) -> bool:
    """Whether the newest that the store has seen is this log's own."""
    record = file.get(store.extent)
    if record is None:
        return False
    if store.mark is not None and store.head < store.mark.position:
        return store.mark.content in ("", fingerprint(record.body))
    return store.newest is None or equal_json(record.body, store.newest)


def check_end(file: LogFile, positions: Positions, head: int) -> None:
    """Check that the log does not end below its watermark.

    Raises:
        LogDamaged: it does: this is a part of the log.
    """
    watermark = max(positions.stored, positions.settled)
    if watermark > head:
        raise LogDamaged(
            f"{file.path}: its watermark {format_id(watermark)} is above its head "
            f"{format_id(head)}: the end of the log is missing. Restore the whole file from a "
            "backup, or accept the loss with `chatsvc log verify --accept-loss`"
        )


def begin_epoch(positions: Positions, differ: int, *, above: int = 0) -> Positions:
    """A new epoch: cursors and keys of the one before are not its own.

    Args:
        differ: above it the two may differ.
        above: a generation that was seen elsewhere.
    """
    if positions.unconfirmed is not None:
        differ = min(differ, positions.unconfirmed)
    generation = max(positions.epochs[-1].generation, above) + 1
    entry = EpochEntry(generation, new_epoch(), differ)
    return positions._replace(epochs=remembered((*positions.epochs, entry)), created_ms=now_ms())


def _log_meeting(log: LogState, store: StoreState, positions: Positions, meeting: Meeting) -> None:
    if meeting.another:
        _logger.warning("store_is_another", stored_again_from=format_id(positions.stored))
    elif meeting.behind:
        _logger.warning(
            "store_is_older",
            believed_up_to=format_id(log.stored),
            stored_again_from=format_id(positions.stored),
        )
    if meeting.ahead:
        _logger.warning(
            "store_is_ahead",
            log_knows_up_to=format_id(max(log.stored, log.base)),
            store_up_to=format_id(store.extent),
            epoch=positions.epoch,
        )
    if meeting.hole is not None and meeting.hole != log.hole:
        _logger.error(
            "history_is_missing",
            above=format_id(meeting.hole[0]),
            up_to=format_id(meeting.hole[1]),
            meaning="the store lacks it, and the log has deleted it",
        )
