"""The local log: SQLite on this machine's disk, fsynced before anything is acknowledged.

One thread owns the file and does nothing else. The loop gives it a batch of rows at a
time, already encoded and numbered, and hears back when they are durable.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.ids import format_id, id_ms, next_id, now_ms
from chatsvc.core.record import Draft, Record, accept, checksum, moved, pack
from chatsvc.log.backlog import FairShare, lists_bytes
from chatsvc.log.base import AHEAD_SECONDS, Appended, EpochListener, LogCounts, MessageLog
from chatsvc.log.group_commit import Done, GroupCommit
from chatsvc.log.idempotency import KeyWindow
from chatsvc.log.local.elapsed import ElapsedHeads, Instant
from chatsvc.log.local.elapsed import now as elapsed_now
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.local.key_file import SavedKeys, open_keys
from chatsvc.log.local.opening import positions_at_start, read_back
from chatsvc.log.local.positions import head_of
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.refusals import DISK, LOCKED, LockWatch, Refusals, watch_place
from chatsvc.log.local.standing import Settled, Standing
from chatsvc.log.local.worker import Worker
from chatsvc.log.new_conversations import NewConversations
from chatsvc.log.reconcile import EpochEntry, StoreState
from chatsvc.log.tail import Tail

_TRIM_ROWS: Final = 1000
_MAINTENANCE_SECONDS: Final = 1.0
_SAVE_ELAPSED_SECONDS: Final = 60.0
_MIN_COST: Final = 600
"""No record costs less memory than this and its data."""

Observe = Callable[[int, float], None]

_logger = structlog.get_logger("chatsvc.log")


class LocalLog(MessageLog):
    """Open with :meth:`open`; every method but ``open`` is for the loop's thread.

    ``observe`` is told of each commit: how many records, and its seconds.

    Attributes:
        elapsed: which positions are how old, by time that has passed: the head is noted once
            a second, and what was noted outlives the process.
    """

    durability = "fsync"

    def __init__(
        self,
        file: LogFile,
        settled: Settled,
        *,
        met: StoreState | None,
        tail: Tail,
        last: int,
        keys: KeyWindow,
        window_ms: int,
        elapsed: ElapsedHeads,
        backlog_bytes: int,
        min_free_bytes: int,
        retention_ms: int,
        new_conversations: int,
        observe: Observe | None,
    ) -> None:
        self.tail = tail
        self.elapsed = elapsed
        self._file = file
        self._last = last
        self._keys = keys
        self._saved_keys = SavedKeys(file, keys)
        self._window_seconds = window_ms / 1000
        self._window_end = elapsed.older_than(self._window_seconds)
        self._fair_share = FairShare(tail.backlog, backlog_bytes)
        self._new_conversations = NewConversations(new_conversations)
        self._min_free_bytes = min_free_bytes
        self._retention_ms = retention_ms
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._commit = GroupCommit(self._write, self._accepted, keys, self._admit, tail.backlog)
        self._closing = False
        self._refusals = Refusals()
        self._place = InPlace(file.path)
        self._elapsed_saved_at = self._loop.time()
        file.never_wait()
        self._worker = Worker("chatsvc-log")
        self._lock_watch = LockWatch(file, self._worker, self._refusals)
        self._standing = Standing(
            file, settled, met=met, tail=tail, worker=self._worker, reserve=self._reserve
        )
        self._maintenance = self._loop.create_task(self._maintain(), name="log maintenance")

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
            elapsed_clock: what :attr:`elapsed` goes by.

        Raises:
            LogDamaged, VersionTooNew: as :class:`~chatsvc.log.local.file.LogFile`.
        """
        file = await asyncio.to_thread(LogFile, data_dir / "log.db")
        if file.torn_at is not None:
            _logger.warning("log_end_torn", offset=file.torn_at)
        try:
            await asyncio.to_thread(file.check_pages)
            settled = await asyncio.to_thread(positions_at_start, file, store)
            positions = settled.positions
            head = head_of(file, positions)
            elapsed = ElapsedHeads(_text(file.meta("elapsed")), clock=elapsed_clock)
            window_ms = idempotency_ms
            keys = open_keys(
                file,
                epoch=_store_epoch(file.meta("epoch"), file.meta("store")),
                window_ms=window_ms,
                max_keys=idempotency_keys,
                max_keys_per_sender=idempotency_keys_per_sender,
                stored=positions.stored,
                store=store,
                clock=_steady_clock(elapsed_clock),
                lived=lambda: elapsed.lived,
            )
            if store is None and keys.bounds.unmet:
                # What was taken out of this log is no newer than its head, whatever clocks say.
                keys.bounds.past_is_unknown(id_ms(head))
            lately = elapsed.older_than(window_ms / 1000)
            recent = await asyncio.to_thread(
                file.below_bytes, positions.settled, recent_bytes, _MIN_COST
            )
            tail = Tail(
                recent_bytes=recent_bytes,
                watermark=positions.settled,
                floor=max(recent, positions.trimmed, min(positions.settled, lately)),
                stored=positions.stored,
                base=positions.known_base,
                hole=positions.hole,
                head=head,
                confirmed=store is not None,
            )
            await asyncio.to_thread(read_back, file, tail, keys)
        except BaseException:
            file.abandon()
            raise
        log = cls(
            file,
            settled,
            met=store,
            tail=tail,
            last=head,
            keys=keys,
            window_ms=window_ms,
            elapsed=elapsed,
            backlog_bytes=backlog_bytes,
            min_free_bytes=min_free_bytes,
            retention_ms=max(retention_ms, window_ms),
            new_conversations=new_conversations,
            observe=observe,
        )
        ahead = log.ahead_seconds
        if ahead > AHEAD_SECONDS:
            _logger.warning("clock_behind_log", seconds=round(ahead), head=format_id(head))
        return log

    @property
    def epoch(self) -> str:
        return self._standing.epoch

    @property
    def epochs(self) -> tuple[EpochEntry, ...]:
        return self._standing.epochs

    @property
    def met(self) -> StoreState | None:
        return self._standing.met

    @property
    def store_from(self) -> int:
        return self._standing.begin

    @property
    def refill(self) -> int:
        return self._standing.refill if self.tail.refilling else 0

    @property
    def ahead_seconds(self) -> float:
        return max(0, id_ms(self._last) - now_ms()) / 1000

    def on_new_epoch(self, call: EpochListener) -> None:
        self._standing.on_new_epoch(call)

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

    def knows_key(self, key: tuple[str, str, str]) -> bool:
        return not self._keys.may_have_forgotten(key) or self.remembers(key)

    def remembers(self, key: tuple[str, str, str]) -> bool:
        """Whether a record of this key is known, or being written."""
        return self._keys.get(key) is not None or self._commit.in_flight(key)

    def used_above(self, key: tuple[str, str, str]) -> int:
        return self._keys.bounds.used_above(key[2])

    @property
    def window_start(self) -> int:
        return max(self._window_end, self._keys.bounds.plain_after)

    @property
    def forgotten_are_stored(self) -> bool:
        return self.tail.relied_on >= self._keys.forgotten_to

    @property
    def past_is_unknown(self) -> bool:
        return self._keys.bounds.unmet

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        self._keys.bounds.learn_past(bound_ms, ahead)

    def advance_watermark(self, watermark: int) -> None:
        self._standing.stored(watermark)
        self.tail.advance(watermark)

    async def attach_store(self, store: StoreState) -> None:
        before = self.epoch, self._standing.store
        await self._standing.attach(store)
        if (self.epoch, self._standing.store) != before:
            self._keys.bounds.past_is_unknown(id_ms(store.extent), store.window_start)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        return await self._standing.read(after, up_to, limit, max_bytes)

    def older_than(self, seconds: float) -> int:
        return self.elapsed.older_than(seconds)

    async def readmit(self, records: Sequence[Record]) -> None:
        now = now_ms()
        placed: list[Record] = []
        for record in records:
            self._last = next_id(self._last, now)
            placed.append(moved(record, self._last))

        def added() -> None:
            # Whoever sent what the store holds under these ids may send it again.
            self._keys.bounds.past_is_unknown(max(id_ms(record.id) for record in records))
            for one in placed:
                if one.client_id is not None:
                    self._keys.add((one.sender, one.channel, one.client_id), one.id, one.digest)
            self.tail.extend(placed)

        await self._standing.readmit(records, placed, added)

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        await self._commit.drained()
        self._maintenance.cancel()
        self._lock_watch.stop()
        self.elapsed.note(self.tail.head)
        self._save_elapsed()
        self._save_keys()
        self._standing.save()
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
        listed = self.tail.lists_channel(draft.channel)
        # That a draft and its record are in memory together while they are written is not
        # counted: a commit has no more than 4 MiB.
        size = draft.cost if listed else draft.cost + lists_bytes(draft)
        if self.tail.backlog.total + size > self._fair_share.free_for_all:
            self._fair_share.check(draft.sender, size)
        if not listed:
            self._new_conversations.begin(draft.sender, draft.channel)
        return size

    def _write(self, drafts: list[Draft], done: Done) -> None:
        refusal = self._refusals.first
        if refusal is not None and LOCKED in self._refusals:
            # These were queued behind the commit that found it so.
            self._loop.call_soon(done, [refusal] * len(drafts))
            return
        records: list[Record] = []
        rows: list[Row] = []
        now = now_ms()
        last = self._last
        for draft in drafts:
            last = next_id(last, now)
            record = accept(draft, last)
            data = pack(record)
            records.append(record)
            rows.append((last, checksum(last, data), data))
        self._last = last
        started = self._loop.time()

        def durable(error: LogUnavailable | None) -> None:
            if error is not None and error.code == "log_busy":
                self._lock_watch.found_locked(error)
            done(records if error is None else [error] * len(records))
            if self._observe is not None:
                self._observe(len(records), self._loop.time() - started)

        def job() -> None:
            error: LogUnavailable | None = None
            try:
                self._file.insert(rows)
            except LogUnavailable as exc:
                error = exc
            except Exception:
                _logger.exception("commit_failed", records=len(rows))
                error = LogUnavailable("the log cannot write")
            self._loop.call_soon_threadsafe(durable, error)
            self._guarded(self._file.checkpoint_if_due)

        self._worker.commit(job)

    def _accepted(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        self.tail.extend(records, counted=sizes)
        self._keys.forget(self._window_end, self.tail.stored)

    async def _maintain(self) -> None:
        while True:
            self.run_maintenance()
            await asyncio.sleep(_MAINTENANCE_SECONDS)

    def run_maintenance(self) -> None:
        """What is due once a second; an open log does it by itself."""
        self._look_at_disk()
        self.elapsed.note(self.tail.head)
        if self._loop.time() - self._elapsed_saved_at >= _SAVE_ELAPSED_SECONDS:
            self._save_elapsed()
        self._forget_keys()
        watch_place(self._place, self._refusals)
        self._worker.maintain(lambda: self._guarded(self._file.shrink_wal))
        self._standing.save()
        self._trim()

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
        saved = self.elapsed.save().decode()
        self._worker.maintain(lambda: self._guarded(self._file.set_meta, "elapsed", saved))

    def _forget_keys(self) -> None:
        self._window_end = self.elapsed.older_than(self._window_seconds)
        self._keys.forget(self._window_end, self.tail.stored)

    def _save_keys(self) -> None:
        """Now and then: what was forgotten since the last time is only read back."""
        epoch = _store_epoch(self.epoch, self._standing.store)
        save = self._saved_keys.prepare(epoch, self._loop.time())
        self._worker.maintain(lambda: self._guarded(save))

    def _trim(self) -> None:
        up_to = min(self.tail.stored, self.elapsed.older_than(self._retention_ms / 1000))
        if self._saved_keys.is_due(self._loop.time(), up_to):
            self._save_keys()
        self._standing.trim(min(up_to, self._saved_keys.position), _TRIM_ROWS)

    def _reserve(self, up_to: int) -> None:
        self._last = max(self._last, up_to)

    def _guarded(self, call: Callable[..., object], *args: object) -> object:
        """Housekeeping that fails for want of room is done again later."""
        try:
            return call(*args)
        except LogUnavailable as exc:
            _logger.warning("log_maintenance_delayed", error=str(exc))
            return None


def _steady_clock(seconds: Callable[[], Instant]) -> Callable[[], int]:
    """The wall clock as it is now, in Unix milliseconds, going on with the time that passes.

    What it is set to later is not believed.
    """
    opened_ms, opened = now_ms(), seconds().seconds
    return lambda: opened_ms + round((seconds().seconds - opened) * 1000)


def _store_epoch(epoch: object, store: object) -> str:
    return f"{epoch} {store or ''}"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
