"""The local log: SQLite on this machine's disk, fsynced before anything is acknowledged.

One thread owns the file and does nothing else. The loop gives it a batch of rows at a
time, already encoded and numbered, and hears back when they are durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from chatsvc.core.audience import names_readers
from chatsvc.core.errors import LogDamaged, LogUnavailable
from chatsvc.core.ids import format_id, id_ms, next_id, now_ms
from chatsvc.core.record import Draft, Record, accept, checksum, moved, pack_draft
from chatsvc.log.backlog import FairShare, lists_bytes
from chatsvc.log.base import AHEAD_SECONDS, Appended, EpochListener, LogCounts, MessageLog
from chatsvc.log.group_commit import Done, GroupCommit
from chatsvc.log.guards import Guard, Touches
from chatsvc.log.idempotency import Known
from chatsvc.log.local.elapsed import Instant
from chatsvc.log.local.elapsed import now as elapsed_now
from chatsvc.log.local.finishing import to_the_end
from chatsvc.log.local.maintenance import Maintenance, unless_unavailable
from chatsvc.log.local.opening import OpenedFile, open_log_file
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.refusals import LOCKED, LockWatch, Refusals
from chatsvc.log.local.state_exchange import LocalStateExchange
from chatsvc.log.local.state_reader import LocalState
from chatsvc.log.local.store_positions import StorePositions
from chatsvc.log.local.worker import Worker
from chatsvc.log.new_conversations import NewConversations
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.state import adopting

Observe = Callable[[int, float], None]

_logger = structlog.get_logger("chatsvc.log")


class LocalLog(MessageLog):
    """Open with :meth:`open`; every method but ``open`` is for the loop's thread.

    ``observe`` is told of each commit: how many records, and its seconds.

    Attributes:
        maintenance: what is done once a second.
        state: what is kept beside the records.
    """

    durability = "fsync"
    state: LocalState

    def __init__(
        self,
        opened: OpenedFile,
        worker: Worker,
        *,
        attached_store: StoreState | None,
        window_ms: int,
        retention_ms: int,
        backlog_bytes: int,
        min_free_bytes: int,
        new_conversations: int,
        observe: Observe | None,
    ) -> None:
        file, tail, keys = opened.file, opened.tail, opened.keys
        self.tail, self._file, self._keys = tail, file, keys
        self._elapsed, self._last = opened.elapsed, opened.head
        self._fair_share = FairShare(tail.backlog, backlog_bytes)
        self._new_conversations = NewConversations(new_conversations)
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._touches, self.state = Touches(forgotten=tail.head), opened.state
        self._commit = GroupCommit(
            self._write, self._accepted, keys, self._admit, tail.backlog, self._touches, tail.get
        )
        self.acknowledgements = self._commit.acknowledgements
        self._closing = False
        self._refusals = Refusals()
        file.never_wait()
        self._worker = worker
        self._lock_watch = LockWatch(file, self._worker, self._refusals)
        self._positions = StorePositions(
            file,
            opened.attachment,
            attached_store=attached_store,
            tail=tail,
            worker=self._worker,
            reserve=self._reserve,
            unseen=self._touches.may_have_missed,
            state_due=self.state.set_due,
        )
        self.exchange = LocalStateExchange(file, self._positions, self.state, worker)
        self.maintenance = Maintenance(
            opened,
            self._positions,
            self._worker,
            self._refusals,
            window_seconds=window_ms / 1000,
            retention_seconds=retention_ms / 1000,
            min_free_bytes=min_free_bytes,
        )

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        *,
        recent_bytes: int,
        backlog_bytes: int,
        idempotency_ms: int,
        idempotency_keys: int,
        idempotency_keys_per_sender: int = 20_000,
        retention_ms: int,
        min_free_bytes: int = 0,
        store: StoreState | None = None,
        new_conversations: int = 0,
        observe: Observe | None = None,
        elapsed_clock: Callable[[], Instant] = elapsed_now,
    ) -> LocalLog:
        """Verify the file, read what lies above the watermark and within the key window.

        Args:
            data_dir: the folder; the caller holds its lock.
            store: the store, if it answers; what follows for one that is not what it was is
                in ``log/reconcile.py``.
            new_conversations: how many a sender may begin in an hour; 0 is no bound.
            elapsed_clock: what :meth:`older_than` goes by.

        Raises:
            LogDamaged, VersionTooNew: as :class:`~chatsvc.log.local.file.LogFile`.
        """
        opened = await open_log_file(
            data_dir / "log.db",
            recent_bytes=recent_bytes,
            window_ms=idempotency_ms,
            max_keys=idempotency_keys,
            max_keys_per_sender=idempotency_keys_per_sender,
            store=store,
            elapsed_clock=elapsed_clock,
        )
        log = cls._of_file(
            opened,
            attached_store=store,
            window_ms=idempotency_ms,
            retention_ms=max(retention_ms, idempotency_ms),
            backlog_bytes=backlog_bytes,
            min_free_bytes=min_free_bytes,
            new_conversations=new_conversations,
            observe=observe,
        )
        if (ahead := log.ahead_seconds) > AHEAD_SECONDS:
            _logger.warning("clock_behind_log", seconds=round(ahead), head=format_id(opened.head))
        return log

    @classmethod
    def _of_file(cls, opened: OpenedFile, **options: Any) -> LocalLog:
        """Make the log of its file, which is closed again where that fails."""
        with ExitStack() as undo:
            undo.callback(opened.file.abandon)
            undo.callback(opened.state.close)
            worker = Worker("chatsvc-log")
            undo.callback(worker.end)
            log = cls(opened, worker, **options)
            undo.pop_all()
        return log

    @property
    def epoch(self) -> str:
        return self._positions.epoch

    @property
    def epochs(self) -> tuple[EpochEntry, ...]:
        return self._positions.epochs

    @property
    def attached_store(self) -> StoreState | None:
        return self._positions.attached_store

    @property
    def store_from(self) -> int:
        return self._positions.begin

    @property
    def refill(self) -> int:
        return self._positions.refill if self.tail.refilling else 0

    @property
    def ahead_seconds(self) -> float:
        return max(0, id_ms(self._last) - now_ms()) / 1000

    def on_new_epoch(self, call: EpochListener) -> None:
        self._positions.on_new_epoch(call)

    @property
    def counts(self) -> LogCounts:
        return LogCounts(
            repeats=self._commit.repeats,
            keys_forgotten_early=self._keys.forgotten_early,
            over_share=self._fair_share.refused,
            over_new_conversations=self._new_conversations.refused,
        )

    @property
    def refusal(self) -> LogUnavailable | None:
        try:
            self._check_open()
            self._fair_share.check_capacity()
        except LogUnavailable as exc:
            return exc
        return None

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        return self._commit.append(draft)

    def append_all(
        self, drafts: Sequence[Draft], guard: Guard | None = None
    ) -> asyncio.Future[list[Appended]]:
        return self._commit.append_all(drafts, guard)

    def knows_key(self, key: tuple[str, str, str]) -> bool:
        return not self._keys.may_have_forgotten(key) or self.uses_key(key)

    def first_use(self, key: tuple[str, str, str]) -> Known | None:
        return self._keys.get(key)

    def uses_key(self, key: tuple[str, str, str]) -> bool:
        return self._keys.get(key) is not None or self._commit.in_flight(key)

    def used_above(self, key: tuple[str, str, str]) -> int:
        return self._keys.bounds.used_above(key[2])

    @property
    def window_start(self) -> int:
        return max(self.maintenance.window_end, self._keys.bounds.plain_after)

    @property
    def forgotten_are_stored(self) -> bool:
        return self.tail.relied_on >= self._keys.forgotten_to

    @property
    def past_is_unknown(self) -> bool:
        return self._keys.bounds.unmet

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        self._keys.bounds.learn_past(bound_ms, ahead)

    def advance_watermark(self, watermark: int) -> None:
        self._positions.stored(watermark)
        self.tail.advance(watermark)
        self._touches.forget(self.tail.stored)

    def hold_touches(self, above: int | None) -> None:
        self._touches.hold(above)

    async def attach_store(self, store: StoreState) -> None:
        before = self.epoch, self._positions.store
        await self._positions.attach(store)
        if (self.epoch, self._positions.store) != before:
            self._keys.bounds.past_is_unknown(id_ms(store.extent), store.window_start)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        return await self._positions.read(after, up_to, limit, max_bytes)

    def older_than(self, seconds: float) -> int:
        return self._elapsed.older_than(seconds)

    async def readmit(self, records: Sequence[Record]) -> None:
        now, placed = now_ms(), list[Record]()
        for record in records:
            self._last = next_id(self._last, now)
            placed.append(moved(record, self._last))

        def added(placed: Sequence[Record]) -> None:
            # Whoever sent what the store holds under these ids may send it again.
            self._keys.bounds.past_is_unknown(max(id_ms(record.id) for record in records))
            for one in placed:
                self._keys.add_record(one)
                self._touches.add(one)
            self.state.rows_were_written(placed)
            self.tail.extend(placed)

        await self._positions.readmit(records, placed, added)

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        await to_the_end(self._close())

    async def _close(self) -> None:
        await self._commit.drained()
        self.maintenance.stop()
        self._lock_watch.stop()
        self.maintenance.save()
        self.state.close()
        await self._worker.stop()
        await asyncio.to_thread(self._file.close)

    def _check_open(self) -> None:
        if self._closing:
            raise LogUnavailable("the service is shutting down", code="shutting_down")
        if self._refusals.first is not None:
            raise self._refusals.first

    def _admit(self, draft: Draft) -> int:
        # Every send comes through here: a check is called only where it may have to refuse.
        if self._closing or self._refusals.first is not None:
            self._check_open()
        if draft.state is not None:
            self.state.check_adopted()
        channel = draft.channel
        listed = self.tail.lists_channel(channel)
        # That a draft and its record are in memory together while they are written is not
        # counted: a commit has no more than 4 MiB and one draft.
        size = draft.cost
        if not listed or (channel[0] == "," and names_readers(channel, draft.audience)):
            size += lists_bytes(draft)
        if self.tail.backlog.total + size > self._fair_share.free_for_all:
            self._fair_share.check(draft.sender, size)
        if not listed and not (channel[0] == "," and self.state.has_channel(channel)):
            self._new_conversations.begin(draft.sender, channel)
        return size

    def _write(self, drafts: list[Draft], done: Done) -> None:
        refusal = self._refusals.first
        if refusal is not None and LOCKED in self._refusals:
            # These were queued behind the commit that found it so.
            self._loop.call_soon(done, [refusal] * len(drafts))
            return
        changing = any(draft.state is not None for draft in drafts)
        if changing and self.state.is_adopting:  # since it was taken: its rows are gone
            self._loop.call_soon(self._commit.not_written, adopting())
            return
        records: list[Record] = []
        rows: list[Row] = []
        now, last = now_ms(), self._last
        for draft in drafts:
            last = next_id(last, now)
            records.append(accept(draft, last))
            if not changing:  # what changes the state is packed with its rows, in the thread
                data = pack_draft(draft)
                rows.append((last, checksum(last, data), data))
        self._last = last
        started = self._loop.time()

        def durable(kept: list[Record], error: LogUnavailable | None, is_ours: bool) -> None:
            if error is not None and error.code == "log_busy":
                self._lock_watch.found_locked(error)
            if changing and error is None:
                self.state.rows_were_written(kept)
            if error is not None and not is_ours:
                self._commit.not_written(error)
            else:
                done(kept if error is None else [error] * len(records))
            if self._observe is not None:
                self._observe(len(records), self._loop.time() - started)

        def job() -> None:
            kept, error, is_ours = self._insert(records, rows if not changing else None)
            self._loop.call_soon_threadsafe(durable, kept, error, is_ours)
            unless_unavailable(self._file.checkpoint_if_due)

        self._worker.commit(job)

    def _insert(
        self, records: list[Record], rows: list[Row] | None
    ) -> tuple[list[Record], LogUnavailable | None, bool]:
        """Write records; return what is kept, or the error and whether it is of the whole log.

        Args:
            rows: of the records, where none of them changes the state.
        """
        try:
            if rows is None:
                return self._file.insert_changing(records), None, True
            self._file.insert(rows)
        except LogUnavailable as exc:
            return records, exc, True
        except LogDamaged as exc:
            _logger.error("log_state_damaged", error=str(exc))
            return records, LogUnavailable("the log's state is damaged", retry_after=60.0), False
        except Exception:
            _logger.exception("commit_failed", records=len(records))
            return records, LogUnavailable("the log cannot write"), False
        return records, None, True

    def _accepted(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        self.tail.extend(records, counted=sizes)
        self._keys.forget(self.maintenance.window_end, self.tail.stored)
        self._touches.forget(self.tail.stored)

    def _reserve(self, up_to: int) -> None:
        self._last = max(self._last, up_to)
