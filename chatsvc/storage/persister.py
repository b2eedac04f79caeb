"""From the log to the store: in order, in batches, for as long as it takes.

The watermark advances over what is stored and over what was put aside as a dead
letter, both durable by then, and over nothing else. The store keeps a watermark of its
own, set after each batch from the value that was set before it: where that is not what is
found there, the store was put back, or somebody else writes to it, and log and store have
to meet again. Whether it is still the store that it was is also looked at after a failed
round, once a minute, and when it answers again after it did not: until then it may be another
one, or an older copy, and what it answers is not called complete.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from chatsvc.core.errors import ChatError, StoreUnavailable, VersionTooNew
from chatsvc.core.ids import format_id, now_ms
from chatsvc.core.record import KIND_MESSAGE, Record, pack
from chatsvc.log.base import StoreFeed
from chatsvc.log.reconcile import Mark, fingerprint
from chatsvc.storage.bodies import DIGEST_CONFLICT
from chatsvc.storage.letter_records import taken_by_letters, taken_by_messages
from chatsvc.storage.past import ClientIdHistory, learn_past
from chatsvc.storage.persister_events import PersisterEvents, PersisterHealth, Status
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.lifecycle import StoreLifecycle
from chatsvc.storage.ports.messages import MessageWriter, Rejection
from chatsvc.storage.store_state import AttachableStore, state_of

KNOWN_KINDS: Final = frozenset({KIND_MESSAGE})
BEHIND_BATCH: Final = 5000
BEHIND_BYTES: Final = 4 * 1024 * 1024
REFILL_BATCH: Final = 1000
REFILL_BYTES: Final = 1024 * 1024
"""Read from the log's file at once, in the thread in which commits wait meanwhile."""
LOOK_SECONDS: Final = 60.0
"""How often a store that gives no cause is looked at: it may have been put back."""
MAX_PAUSE: Final = 30.0
"""Seconds between rounds at most."""

_logger = structlog.get_logger("chatsvc.persister")


class _StoreMoved(Exception):
    """The store's watermark is not what was set last."""


class _StopWhenSet(stop_base):
    """No further attempt once the event is set."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._event.is_set()


class PersisterStore(StoreLifecycle, AttachableStore, MessageWriter, ClientIdHistory, Protocol):
    """A store, as far as it is filled from the log."""


class Persister:
    """The one writer of a store.

    Args:
        log: read from its tail, and from its file what a store lacks that another had.
        store: opened here if it is not yet, and again for as long as it is away.
        attempts: tries in a round.
        batch: messages in one go while keeping up.
        batch_ms: how long a batch waits for company, in milliseconds.
        events: told what happens.
        first_wait: the scale of the backoff within a round, in seconds.
        first_pause: between the first two rounds, in seconds; it doubles up to
            :data:`MAX_PAUSE`.
        probe_seconds: how often, in such a pause, a store that is gone is asked whether
            it is back.
        look_seconds: how often to look whether it is still the same store.
    """

    def __init__(
        self,
        log: StoreFeed,
        store: PersisterStore,
        *,
        attempts: int = 5,
        batch: int = 500,
        batch_ms: int = 50,
        events: PersisterEvents | None = None,
        first_wait: float = 0.1,
        first_pause: float = 1.0,
        probe_seconds: float = 2.0,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._log = log
        self._store = store
        self._batch = batch
        self._batch_seconds = batch_ms / 1000
        self._events = events or PersisterEvents()
        self._first_pause = first_pause
        self._probe_seconds = probe_seconds
        self._look_seconds = look_seconds
        self._position = log.store_from
        self._found = log.met
        self._must_look = log.met is None or log.past_is_unknown
        self._looked_at = time.monotonic()
        self._asked: Mark | None = None
        self._tried: Sequence[Record] = ()
        self._stopping = asyncio.Event()
        self._status: Status = "ok"
        self._error: str | None = None
        self._rounds_failed = 0
        self._task: asyncio.Task[None] | None = None
        self._drain = False
        self._idle = False
        self._wake = asyncio.Event()
        self._losses = 0
        self._is_back = False
        self._retrying = AsyncRetrying(
            stop=stop_any(stop_after_attempt(attempts), _StopWhenSet(self._stopping)),
            wait=wait_random_exponential(multiplier=first_wait, max=5.0),
            retry=retry_if_exception_type(StoreUnavailable),
            before_sleep=self._log_retry,
            sleep=self._pause,
            reraise=True,
        )

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        status, error = self._status, self._error
        if status == "ok" and self._log.tail.refilling:
            status = "degraded"
            error = "the store lacks what one before it had, and is being filled from the log"
        return PersisterHealth(status, error, self._log.tail.unsaved_count)

    def start(self) -> None:
        """Begin, in a task of its own."""
        if self._task is not None:
            raise RuntimeError("a persister starts once")
        self._log.tail.listen(self._on_records)
        self._task = asyncio.create_task(self._run(), name="persister")

    async def stop(self, *, drain: bool, seconds: float = 5.0) -> None:
        """End after what is being written; with ``drain``, after a last attempt at the rest.

        Args:
            drain: whether to try.
            seconds: the most that this takes. What is not stored by then stays in the
                log, and is stored after the next start.
        """
        self._drain = drain
        self._stopping.set()
        self._wake.set()
        task = self._task
        if task is None:
            return
        _, pending = await asyncio.wait({task}, timeout=seconds)
        if pending:
            _logger.warning("persister_cut_off", backlog=self._log.tail.unsaved_count)
            task.cancel()
            await asyncio.wait({task})

    def store_lost(self) -> None:
        """It did not answer: until it was looked at again, it is not relied on."""
        self._losses += 1
        self._must_look = True
        self._log.tail.confirmed = False

    def store_back(self) -> None:
        """It answers again: look at it now."""
        self._is_back = True
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                return await self._work_until_stopped()
            except Exception as exc:  # a fault of ours, or of a store: what is unsaved is kept
                _logger.exception("persister_error")
                self._tried = ()
                self._failed(exc)
            if self._stopping.is_set():
                return None
            await self._pause(self._max_pause() * random.uniform(0.5, 1.0))

    async def _work_until_stopped(self) -> None:
        while not self._is_over():
            await self._gather()
            if self._has_work():
                await self._work()
        while self._drain and not self._has_stopped() and self._has_work():
            if not await self._round():
                break

    async def _work(self) -> None:
        """One batch: rounds until it is stored, or the persister stops."""
        while not self._is_over():
            if await self._round():
                return
            await self._rest(self._max_pause() * random.uniform(0.5, 1.0))

    def _max_pause(self) -> float:
        """Seconds after the last of the rounds that failed in a row."""
        return min(MAX_PAUSE, self._first_pause * 2.0 ** min(self._rounds_failed - 1, 16))

    async def _round(self) -> bool:
        """Attempts at the next batch; whether it is stored."""
        started = time.monotonic()
        self._tried = ()
        try:
            done: tuple[Sequence[Record], int] = await self._retrying(self._attempt)
        except VersionTooNew as exc:
            self._halt("store_too_new", str(exc))
            return False
        except (StoreUnavailable, _StoreMoved) as exc:
            self._failed(exc)
            return False
        except Exception as exc:  # whatever it is, the batch is kept and tried again
            _logger.exception("persister_error", **_span(self._tried))
            self._failed(exc)
            return False
        if self._has_stopped():
            return False
        records, rejected = done
        if records:
            self._log.advance_watermark(records[-1].id)
            self._position = records[-1].id
            self._events.stored(len(records) - rejected, time.monotonic() - started)
        if self._rounds_failed:
            _logger.info("store_recovered", rounds=self._rounds_failed, **_span(records))
        self._rounds_failed = 0
        self._status, self._error = "ok", None
        return True

    async def _attempt(self) -> tuple[Sequence[Record], int]:
        """Store the next batch; what it was, and how many of it were not stored as they are."""
        if self._must_look or time.monotonic() - self._looked_at >= self._look_seconds:
            await self._look()
        records = self._tried = await self._next_untaken()
        if not records:
            return records, 0
        rejections = await self._store.write(records)
        stored = self._log.tail.stored
        # Stored again for good measure, at or below it: what was refused then was put aside.
        rejections = [one for one in rejections if one.record.id > stored]
        replaced = [one.record for one in rejections if one.code == DIGEST_CONFLICT]
        refused = [one for one in rejections if one.code != DIGEST_CONFLICT]
        # Refused before it was seen that the store has something else there.
        suspects = [one.record for one in refused if one.record.id <= self._log.tail.base]
        replaced += await taken_by_messages(self._store, suspects)
        if replaced:
            await self._log.readmit(replaced)
            refused = [one for one in refused if one.record not in replaced]
        if refused:
            await self._write_dead_letters(refused)
        last = records[-1]
        await self._advance(last.id, "" if last in replaced else fingerprint(last.body))
        return records, len(rejections)

    async def _advance(self, position: int, content: str) -> None:
        """Tell the store that it has everything up to here, of this epoch of the log."""
        found = self._found
        assert found is not None
        entry, mark = self._log.epochs[-1], found.mark
        new = Mark(
            position,
            entry.generation,
            entry.epoch,
            self._log.tail.hole,
            content,
            self._log.window_start,
        )
        if mark is not None:
            if mark.position > position:
                new = new._replace(position=mark.position, content=mark.content)
            if new._replace(window_start=mark.window_start) == mark:
                return  # stored again: the store has passed it before
        asked, self._asked = self._asked, new
        if not await self._store.set_watermark(mark, new):
            # An attempt before this one may have been carried out, and its answer lost.
            now = await self._store.watermark()
            done = now == new or (
                now is not None and now == asked and await self._store.set_watermark(now, new)
            )
            if not done:
                raise _StoreMoved("another service writes to the store, or it was put back")
        self._found = found._replace(mark=new)

    async def _look(self) -> None:
        """Go by the store as it is now.

        Raises:
            StoreUnavailable: it does not answer, or somebody else writes to it.
            VersionTooNew: written by a newer program.
        """
        self._must_look = True
        self._is_back = False
        if not await self._answers():
            self.store_lost()  # opening it may let readers into another file
        losses = self._losses
        store = self._store
        await store.open()
        found = await state_of(store)
        before = self._found
        same = before is not None and before.identity == found.identity
        asked = found.mark is not None and found.mark == self._asked  # its answer was lost
        if before is None or not same or (found.mark != before.mark and not asked):
            await self._log.attach_store(found)
            self._position = self._log.store_from
        self._found = found
        # Lost again meanwhile, it may be another one already.
        self._log.tail.confirmed = losses == self._losses
        await learn_past(self._log, store)
        self._must_look = losses != self._losses
        self._looked_at = time.monotonic()

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

    async def _next_untaken(self) -> list[Record]:
        """The next batch; what has the id of a dead letter of another message is placed anew."""
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
        if self._position < tail.floor:
            up_to = tail.watermark
            records = await self._log.read(self._position, up_to, REFILL_BATCH, REFILL_BYTES)
            if not records:
                self._pass(up_to)
        if not records:
            limit = self._batch if tail.unsaved_count <= self._batch else BEHIND_BATCH
            records = tail.batch(self._position, limit, BEHIND_BYTES)
        if not records:
            self._pass(tail.watermark)
        for index, record in enumerate(records):
            if record.kind not in KNOWN_KINDS:
                if index == 0:
                    self._halt(
                        "unknown_kind",
                        f"record {format_id(record.id)} is of kind {record.kind!r}, which this "
                        "program does not know: run the version that wrote it, or a newer one",
                    )
                return records[:index]
        return records

    def _pass(self, position: int) -> None:
        """There is nothing to store up to here."""
        self._position = max(self._position, position)
        self._log.advance_watermark(self._position)

    def _halt(self, event: str, error: str) -> None:
        self._status, self._error = "stopped", error
        _logger.critical(event, error=error, backlog=self._log.tail.unsaved_count)

    def _failed(self, exc: Exception) -> None:
        self._must_look = True
        self._rounds_failed += 1
        text = str(exc) if isinstance(exc, ChatError | _StoreMoved) else type(exc).__name__
        self._status, self._error = "degraded", text
        self._events.round_failed()
        _logger.error(
            "round_failed",
            round=self._rounds_failed,
            error=text,
            cause=_cause(exc),
            backlog=self._log.tail.unsaved_count,
            **_span(self._tried),
        )

    def _log_retry(self, state: RetryCallState) -> None:
        outcome, action = state.outcome, state.next_action
        assert outcome is not None  # so it is before every wait
        assert action is not None
        exc = outcome.exception()
        assert exc is not None
        self._events.retried()
        _logger.warning(
            "store_retry",
            attempt=state.attempt_number,
            error=str(exc),
            cause=_cause(exc),
            wait_seconds=round(action.sleep, 3),
        )

    def _has_stopped(self) -> bool:
        return self._status == "stopped"

    def _is_over(self) -> bool:
        """Whether nothing more is begun."""
        return self._stopping.is_set() or self._has_stopped()

    def _has_work(self) -> bool:
        tail = self._log.tail
        return tail.unsaved_count > 0 or self._position < tail.watermark

    async def _gather(self) -> None:
        """Wait for a record, then until a batch is full or its time is over."""
        while not self._is_over() and not self._has_work():
            self._idle = True
            self._wake.clear()
            if not self._is_back and await self._woken():
                continue
            await self._glance()
        self._idle = False
        deadline = asyncio.get_running_loop().time() + self._batch_seconds
        try:
            async with asyncio.timeout_at(deadline):
                while not self._is_over() and not self._is_full():
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    async def _woken(self) -> bool:
        """Whether there is a cause to go on before it is time to look at the store."""
        pause = self._probe_seconds if self._must_look else self._look_seconds
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _glance(self) -> None:
        """Look at the store while there is nothing to do."""
        try:
            await self._look()
        except VersionTooNew as exc:
            self._halt("store_too_new", str(exc))
        except StoreUnavailable as exc:
            _logger.debug("store_not_seen", error=str(exc), cause=_cause(exc))
        except Exception as exc:
            _logger.exception("persister_error")
            self._failed(exc)

    def _is_full(self) -> bool:
        return self._log.tail.unsaved_count >= self._batch

    def _on_records(self, _: Sequence[Record]) -> None:
        if self._idle or self._is_full():
            self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """Between rounds: until the time is over, or a store that was gone answers again.

        One that answers, and still takes no writes, is left alone for the whole time.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + seconds
        unavailable = answers = False
        while not self._is_over() and (left := deadline - now()) > 0:
            if self._is_back:
                return
            answers = answers or await self._answers()
            if answers and unavailable:
                return
            unavailable = not answers
            await self._pause(min(self._probe_seconds, left))

    async def _answers(self) -> bool:
        try:
            await self._store.ping()
        except StoreUnavailable:
            return False
        except Exception:  # whatever it is, this store does not answer
            _logger.exception("store_ping_failed")
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless it is time to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _span(records: Sequence[Record]) -> dict[str, Any]:
    if not records:
        return {"count": 0}
    return {
        "count": len(records),
        "first_id": format_id(records[0].id),
        "last_id": format_id(records[-1].id),
    }


def _cause(exc: BaseException) -> str | None:
    """The driver's own words, cut short; they name servers, never content."""
    cause = exc.__cause__
    return f"{type(cause).__name__}: {cause}"[:300] if cause is not None else None
