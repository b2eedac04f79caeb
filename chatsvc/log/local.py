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

from chatsvc.core.errors import LogDamaged, LogUnavailable, StoreUnavailable
from chatsvc.core.ids import MAX_ID, format_id, id_at, id_ms, next_id, now_ms
from chatsvc.core.record import Draft, Record, accept, checksum, pack
from chatsvc.log.backlog import FairShare, draft_bytes
from chatsvc.log.base import Appended, MessageLog
from chatsvc.log.commit import Done, GroupCommit
from chatsvc.log.elapsed import ElapsedHeads, Instant
from chatsvc.log.elapsed import now as elapsed_now
from chatsvc.log.file import LogFile, Row, new_epoch
from chatsvc.log.in_place import InPlace
from chatsvc.log.key_file import SavedKeys, open_keys
from chatsvc.log.keys import KeyWindow
from chatsvc.log.new_conversations import NewConversations
from chatsvc.log.refusals import DISK, LOCKED, LockWatch, Refusals, watch_place
from chatsvc.log.tail import Tail
from chatsvc.log.worker import Worker

_TRIM_ROWS: Final = 1000
_HOUSEKEEPING_SECONDS: Final = 1.0
_SAVE_ELAPSED_SECONDS: Final = 60.0

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
        *,
        tail: Tail,
        last: int,
        keys: KeyWindow,
        window_ms: int,
        elapsed: ElapsedHeads,
        backlog_bytes: int,
        min_free_bytes: int,
        retention_ms: int,
        new_conversations: int = 0,
        observe: Observe | None = None,
    ) -> None:
        self.tail = tail
        self.elapsed = elapsed
        self._file = file
        self._epoch = str(file.meta("epoch"))
        self._store = _text(file.meta("store"))
        self._last = last
        self._keys = keys
        self._saved_keys = SavedKeys(file, keys)
        self._window_seconds = window_ms / 1000
        self._window_end = 0
        self.fair_share = FairShare(tail.backlog, backlog_bytes)
        self.new_conversations = NewConversations(new_conversations)
        self._min_free_bytes = min_free_bytes
        self._retention_ms = retention_ms
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._commit = GroupCommit(self._write, self._accepted, keys, self._admit, tail.backlog)
        self._closing = False
        self._refusals = Refusals()
        self._place = InPlace(file.path)
        self._saved_watermark = tail.watermark
        self._elapsed_saved_at = self._loop.time()
        self._trimmed_ms = 0
        file.never_wait()
        self._worker = Worker("chatsvc-log")
        self._lock_watch = LockWatch(file, self._worker, self._refusals)
        self._keeper = self._loop.create_task(self._keep_house(), name="log housekeeping")

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
        store_identity: str | None = None,
        store_head: int | None = None,
        new_conversations: int = 0,
        observe: Observe | None = None,
        elapsed_clock: Callable[[], Instant] = elapsed_now,
    ) -> LocalLog:
        """Verify the file, read what lies above the watermark and within the key window.

        Args:
            data_dir: the folder; the caller holds its lock.
            store_identity: the store's name, if it answers; the watermark is good for the
                store it was reached with, and begins anew with another.
            new_conversations: how many a sender may begin in an hour; 0 is no bound.
            store_head: the highest id stored, if the store answers. Above the log's own
                head it means that the log is an older one, put back: a new life begins.
            elapsed_clock: what :attr:`elapsed` goes by.

        Raises:
            LogDamaged, VersionTooNew: as :class:`~chatsvc.log.file.LogFile`.
        """
        file = await asyncio.to_thread(LogFile, data_dir / "log.db")
        if file.torn_at is not None:
            _logger.warning("the log's end was torn by a crash", offset=file.torn_at)
        try:
            head = max(file.head(), _base(file))
            watermark = _reconcile(file, head, store_identity, store_head)
            elapsed = ElapsedHeads(_text(file.meta("elapsed")), clock=elapsed_clock)
            window_ms = idempotency_ms
            now = now_ms()
            keys = open_keys(
                file,
                window_ms=window_ms,
                max_keys=idempotency_keys,
                max_keys_per_sender=idempotency_keys_per_sender,
                stored=watermark,
                store_head=store_head,
                clock=_wall_clock,
            )
            # Below the base the store may hold what this log does not: only what it has yet to
            # get of that is kept in memory.
            base = _base(file)
            read_from = min(watermark, id_at(max(0, now - window_ms)))
            tail = Tail(
                recent_bytes=recent_bytes,
                watermark=watermark,
                floor=min(watermark, max(read_from, base)),
                complete_above=base,
            )
            await asyncio.to_thread(_load, file, tail, keys, read_from)
        except BaseException:
            file.abandon()
            raise
        return cls(
            file,
            tail=tail,
            last=max(head, store_head or 0, tail.head, watermark),
            keys=keys,
            window_ms=window_ms,
            elapsed=elapsed,
            backlog_bytes=backlog_bytes,
            min_free_bytes=min_free_bytes,
            retention_ms=max(retention_ms, window_ms),
            new_conversations=new_conversations,
            observe=observe,
        )

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def keys_forgotten_early(self) -> int:
        """How many keys went before their window was over, for the bound on their number."""
        return self._keys.forgotten_early

    @property
    def repeats(self) -> int:
        """Appends whose key was used already."""
        return self._commit.repeats

    @property
    def refusal(self) -> LogUnavailable | None:
        """Why sends are refused now, or ``None`` while they are taken."""
        try:
            self._check_open()
            self.fair_share.check_room()
        except LogUnavailable as exc:
            return exc
        return None

    def append(self, draft: Draft) -> asyncio.Future[Appended]:
        return self._commit.append(draft)

    def can_tell(self, key: tuple[str, str, str]) -> bool:
        return not self._keys.may_have_forgotten(key) or self.remembers(key)

    def remembers(self, key: tuple[str, str, str]) -> bool:
        """Whether a record of this key is known, or being written."""
        return self._keys.get(key) is not None or self._commit.in_flight(key)

    @property
    def forgotten_are_stored(self) -> bool:
        return self.tail.watermark >= self._keys.forgotten_to

    @property
    def past_is_unknown(self) -> bool:
        """Whether the store may hold keys that this log never knew, and was not asked yet."""
        return self._keys.bounds.unmet

    def learn_past(self, newest: int, ahead: Sequence[tuple[str, int]]) -> None:
        """What the store holds of keys that this log never knew.

        Args:
            newest: the highest id of what it holds, 0 if it is empty.
            ahead: see :meth:`~chatsvc.log.key_bounds.KeyBounds.learn_past`.
        """
        self._keys.bounds.learn_past(id_ms(newest), ahead)

    def advance_watermark(self, watermark: int) -> None:
        self.tail.advance(watermark)

    def meet_store(self, identity: str, head: int) -> None:
        """A store that was away at the start answers: is it the one this log fills?

        Raises:
            StoreUnavailable: it is another, or ahead of the log. A restart, with the store
                there, sorts it out; until then nothing is stored and all of it is kept.
        """
        if self._store is None:
            self._store = identity
            self._worker.chore(lambda: self._guarded(self._file.set_meta, "store", identity))
        if identity != self._store or head > self._last:
            raise StoreUnavailable(
                "this is not the store that the log was filling before, or it is ahead of the "
                "log: restart the service, which brings the two together",
                code="store_is_another",
            )

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        await self._commit.drained()
        self._keeper.cancel()
        self._lock_watch.stop()
        self._note_elapsed()
        self._save_elapsed()
        self._save_keys()
        self._save_watermark()
        await self._worker.stop()
        await asyncio.to_thread(self._file.close)

    def _check_open(self) -> None:
        if self._closing:
            raise LogUnavailable("the service is shutting down", code="shutting_down")
        if self._refusals.first is not None:
            raise self._refusals.first

    def _admit(self, draft: Draft) -> int:
        self._check_open()
        listed = self.tail.lists_channel(draft.channel)
        size = draft_bytes(draft, listed=listed)
        self.fair_share.check(draft.sender, size)
        if not listed:
            self.new_conversations.begin(draft.sender, draft.channel)
        return size

    def _write(self, drafts: list[Draft], done: Done) -> None:
        if LOCKED in self._refusals:  # what was queued behind the commit that found it so
            self._loop.call_soon(done, None, self._refusals.first)
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
            done(None if error else records, error)
            if self._observe is not None:
                self._observe(len(records), self._loop.time() - started)

        def job() -> None:
            error: LogUnavailable | None = None
            try:
                self._file.insert(rows)
            except LogUnavailable as exc:
                error = exc
            except Exception:
                _logger.exception("a commit failed", records=len(rows))
                error = LogUnavailable("the log cannot write")
            self._loop.call_soon_threadsafe(durable, error)
            self._guarded(self._file.checkpoint_if_due)

        self._worker.commit(job)

    def _accepted(self, records: Sequence[Record]) -> None:
        self.tail.extend(records)
        self._keys.forget(self._window_end, self.tail.watermark)

    async def _keep_house(self) -> None:
        self._save_keys()  # of this life; what it may trim goes by what is saved
        while True:
            self._look_at_disk()
            self._note_elapsed()
            if self._loop.time() - self._elapsed_saved_at >= _SAVE_ELAPSED_SECONDS:
                self._save_elapsed()
                self._save_keys()
            self._forget_keys()
            watch_place(self._place, self._refusals)
            self._worker.chore(lambda: self._guarded(self._file.shrink_wal))
            self._save_watermark()
            self._trim()
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)

    def _look_at_disk(self) -> None:
        try:
            disk = os.statvfs(self._file.path.parent)
        except OSError as exc:
            _logger.error("the log's disk cannot be looked at", error=str(exc))
            return
        free = disk.f_bavail * disk.f_frsize
        if free >= self._min_free_bytes:
            if self._refusals.end(DISK):
                _logger.info("the log's disk has room again", free_bytes=free)
            return
        error = LogUnavailable("the log's disk is nearly full", code="disk_full", retry_after=5.0)
        if self._refusals.begin(DISK, error):
            _logger.error("the log's disk is nearly full", free_bytes=free)

    def _note_elapsed(self) -> None:
        self.elapsed.note(self.tail.head)

    def _save_elapsed(self) -> None:
        """Now and then: what was noted since the last time only counts as younger."""
        self._elapsed_saved_at = self._loop.time()
        saved = self.elapsed.save().decode()
        self._worker.chore(lambda: self._guarded(self._file.set_meta, "elapsed", saved))

    def _forget_keys(self) -> None:
        self._window_end = self.elapsed.older_than(self._window_seconds)
        self._keys.forget(self._window_end, self.tail.watermark)

    def _save_keys(self) -> None:
        """Now and then: what was forgotten since the last time is only read back."""
        save = self._saved_keys.prepare()
        self._worker.chore(lambda: self._guarded(save))

    def _save_watermark(self) -> None:
        """Lazily: a lower watermark only means storing again what is stored already."""
        watermark = self.tail.watermark
        if watermark != self._saved_watermark:
            self._saved_watermark = watermark
            self._worker.chore(lambda: self._guarded(self._file.set_meta, "watermark", watermark))

    def _trim(self) -> None:
        up_to = min(self.tail.watermark, id_at(max(0, now_ms() - self._retention_ms)))
        up_to = min(up_to, self._saved_keys.position)

        def job() -> None:
            if self._guarded(self._file.trim, up_to, _TRIM_ROWS) == _TRIM_ROWS:
                self._worker.chore(job)  # behind the commits that wait

        self._worker.chore(job)

    def _guarded(self, call: Callable[..., object], *args: object) -> object:
        """Housekeeping that fails for want of room is done again later."""
        try:
            return call(*args)
        except LogUnavailable as exc:
            _logger.warning("housekeeping of the log was put off", error=str(exc))
            return None


def _wall_clock() -> int:
    return now_ms()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _base(file: LogFile) -> int:
    """Where this life of the log began: the head of a store that was ahead of it, else 0."""
    return int(str(file.meta("base") or 0))


def _reconcile(file: LogFile, head: int, store_identity: str | None, store_head: int | None) -> int:
    """The watermark to start from, and a new epoch where the log is not what it was.

    Raises:
        LogDamaged: the watermark is above everything in the log, which is a part of it.
    """
    watermark = int(str(file.meta("watermark") or 0))
    if watermark > head:
        raise LogDamaged(
            f"{file.path}: its watermark {format_id(watermark)} is above its head "
            f"{format_id(head)}: the end of the log is missing. Restore the whole file from a "
            "backup, or accept the loss with `chatsvc log verify --accept-loss`"
        )
    if store_identity is not None and store_identity != file.meta("store"):
        if file.meta("store") is not None:
            _logger.warning("another store than before: everything in the log goes to it")
        if file.head():
            file.set_meta("watermark", 0)
            file.set_meta("base", max(head, store_head or 0))
            if store_head is not None and store_head > head:
                _begin_anew(file, store_head)
            file.set_meta("store", store_identity)  # last: a crash before it does all again
            return 0
        file.set_meta("store", store_identity)
    if store_head is None:
        if head == 0:
            # A new log, and a store that may hold anything: what was before is its affair.
            watermark = id_at(now_ms())
            file.set_meta("base", watermark)
            file.set_meta("watermark", watermark)
        return watermark
    if store_head > head:
        if head:
            _logger.warning("the log is older than the store: a new epoch begins")
        # The store is filled in order: it holds all that this log had up to there.
        _begin_anew(file, store_head)
        file.set_meta("watermark", store_head)
        return store_head
    if store_head < watermark and file.head() > store_head:
        _logger.warning("the store is older than the log: what it lacks is stored again")
        return store_head
    return watermark


def _begin_anew(file: LogFile, base: int) -> None:
    """A new life of the log, above ``base``: cursors and keys of the old one are not its."""
    file.set_meta("epoch", new_epoch())
    file.set_meta("created_ms", now_ms())
    file.set_meta("base", base)


def _load(file: LogFile, tail: Tail, keys: KeyWindow, after: int) -> None:
    """Keys of all above the window's position; into the tail what is above its floor."""
    batch: list[Record] = []
    for number, record in enumerate(file.read(min(after, keys.position))):
        if record.client_id is not None and record.id > keys.position:
            keys.add((record.sender, record.channel, record.client_id), record.id, record.digest)
        if number % 1000 == 0:
            keys.forget(0, MAX_ID)  # too many for the bounds are too many here as well
        if record.id > tail.floor:
            batch.append(record)
        if len(batch) == 1000:
            tail.extend(batch)
            batch.clear()
    tail.extend(batch)
    keys.forget(0, MAX_ID)
