"""From the log to the store: in order, in batches, for as long as it takes.

The watermark advances over what is stored and over what was put aside as a dead
letter, both durable by then, and over nothing else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

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
from chatsvc.log.base import MessageLog
from chatsvc.storage.base import DeadLetter, MessageStore, Rejection

KNOWN_KINDS: Final = frozenset({KIND_MESSAGE})
BEHIND_BATCH: Final = 5000
BEHIND_BYTES: Final = 4 * 1024 * 1024
LONGEST_PAUSE: Final = 30.0
"""Seconds between rounds at most."""

_logger = structlog.get_logger("chatsvc.persister")

Status = Literal["ok", "degraded", "stopped"]


class PersisterHealth(NamedTuple):
    """For ``/health``. ``backlog`` is the number of messages accepted and not yet stored;
    ``error`` the last failure's text while it lasts."""

    status: Status
    error: str | None
    backlog: int


class PersisterEvents:
    """What a persister tells of; each does nothing unless it is overridden."""

    def stored(self, count: int, seconds: float) -> None:
        """A batch is durable; ``seconds`` from its first attempt."""

    def retried(self) -> None:
        """An attempt failed, and another follows."""

    def round_failed(self) -> None:
        """All attempts of a round failed."""

    def put_aside(self, count: int) -> None:
        """Records became dead letters."""


class _StopWhenSet(stop_base):
    """No further attempt once the event is set."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._event.is_set()


class Persister:
    """The one writer of a store.

    Args:
        log: read from its tail, from the watermark on.
        store: opened here if it is not yet, and again for as long as it is away.
        attempts: tries in a round.
        batch: messages in one go while keeping up.
        batch_ms: how long a batch waits for company, in milliseconds.
        events: told what happens.
        on_open: awaited with the store each time it was opened, before the first write.
        first_wait: the scale of the backoff within a round, in seconds.
        first_pause: between the first two rounds, in seconds; it doubles up to
            :data:`LONGEST_PAUSE`.
        probe_seconds: how often, in such a pause, a store that is gone is asked whether
            it is back.
    """

    def __init__(
        self,
        log: MessageLog,
        store: MessageStore,
        *,
        attempts: int = 5,
        batch: int = 500,
        batch_ms: int = 50,
        events: PersisterEvents | None = None,
        on_open: Callable[[MessageStore], Awaitable[None]] | None = None,
        first_wait: float = 0.1,
        first_pause: float = 1.0,
        probe_seconds: float = 2.0,
    ) -> None:
        self._log = log
        self._store = store
        self._batch = batch
        self._batch_seconds = batch_ms / 1000
        self._events = events or PersisterEvents()
        self._on_open = on_open
        self._first_pause = first_pause
        self._probe_seconds = probe_seconds
        self._opened = False
        self._position = log.tail.watermark
        self._stopping = asyncio.Event()
        self._status: Status = "ok"
        self._error: str | None = None
        self._rounds_failed = 0
        self._task: asyncio.Task[None] | None = None
        self._drain = False
        self._idle = False
        self._wake = asyncio.Event()
        self._retrying = AsyncRetrying(
            stop=stop_any(stop_after_attempt(attempts), _StopWhenSet(self._stopping)),
            wait=wait_random_exponential(multiplier=first_wait, max=5.0),
            retry=retry_if_exception_type(StoreUnavailable),
            before_sleep=self._tell_of_retry,
            sleep=self._pause,
            reraise=True,
        )

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        return PersisterHealth(self._status, self._error, self._log.tail.unsaved_count)

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

    async def _run(self) -> None:
        while True:
            try:
                return await self._work_until_stopped()
            except Exception as exc:  # a fault of ours, or of a store: what is unsaved is kept
                _logger.exception("persister_error")
                self._failed(exc, ())
            if self._stopping.is_set():
                return None
            await self._pause(self._longest_pause() * random.uniform(0.5, 1.0))

    async def _work_until_stopped(self) -> None:
        while not self._stopping.is_set() and self._status != "stopped":
            await self._gather()
            if not self._stopping.is_set() and self._has_work():
                await self._work()
        while self._drain and self._status != "stopped" and self._has_work():
            if not await self._round():
                break

    async def _work(self) -> None:
        """One batch: rounds until it is stored, or the persister stops."""
        while not await self._round():
            if self._status == "stopped" or self._stopping.is_set():
                return
            await self._rest(self._longest_pause() * random.uniform(0.5, 1.0))

    def _longest_pause(self) -> float:
        """Seconds after the last of the rounds that failed in a row."""
        return min(LONGEST_PAUSE, self._first_pause * 2.0 ** min(self._rounds_failed - 1, 16))

    async def _round(self) -> bool:
        """Attempts at the next batch; whether it is stored."""
        records = self._next_batch()
        if not records:
            return False
        started = time.monotonic()
        try:
            rejections: list[Rejection] = await self._retrying(self._attempt, records)
        except VersionTooNew as exc:
            self._halt("store_too_new", str(exc))
            return False
        except StoreUnavailable as exc:
            self._failed(exc, records)
            return False
        except Exception as exc:  # whatever it is, the batch is kept and tried again
            _logger.exception("persister_error", **_span(records))
            self._failed(exc, records)
            return False
        self._log.advance_watermark(records[-1].id)
        self._position = records[-1].id
        self._events.stored(len(records) - len(rejections), time.monotonic() - started)
        if self._rounds_failed:
            _logger.info("store_recovered", rounds=self._rounds_failed, **_span(records))
        self._rounds_failed = 0
        self._status, self._error = "ok", None
        return True

    async def _attempt(self, records: Sequence[Record]) -> list[Rejection]:
        if not self._opened:
            await self._store.open()
            if self._on_open is not None:
                await self._on_open(self._store)
            self._opened = True
        rejections = await self._store.write(records)
        if rejections:
            await self._put_aside(rejections)
        return rejections

    async def _put_aside(self, rejections: Sequence[Rejection]) -> None:
        at_ms = now_ms()
        await self._store.dead_letters.put(
            [
                DeadLetter(record.id, code, reason, at_ms, pack(record))
                for record, code, reason in rejections
            ]
        )
        for record, code, reason in rejections:
            _logger.error("dead_letter", message_id=format_id(record.id), code=code, reason=reason)
        self._events.put_aside(len(rejections))

    def _next_batch(self) -> list[Record]:
        """The oldest unsaved, up to the first of a kind that this program cannot store."""
        tail = self._log.tail
        limit = self._batch if tail.unsaved_count <= self._batch else BEHIND_BATCH
        records = tail.batch(self._from(), limit, BEHIND_BYTES)
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

    def _halt(self, event: str, error: str) -> None:
        self._status, self._error = "stopped", error
        _logger.critical(event, error=error, backlog=self._log.tail.unsaved_count)

    def _failed(self, exc: Exception, records: Sequence[Record]) -> None:
        self._rounds_failed += 1
        self._opened = False  # a store that was replaced meanwhile is opened anew
        text = str(exc) if isinstance(exc, ChatError) else type(exc).__name__
        self._status, self._error = "degraded", text
        self._events.round_failed()
        _logger.error(
            "round_failed",
            round=self._rounds_failed,
            error=text,
            cause=_cause(exc),
            backlog=self._log.tail.unsaved_count,
            **(_span(records) if records else {}),
        )

    def _tell_of_retry(self, state: RetryCallState) -> None:
        outcome = state.outcome
        exc = outcome.exception() if outcome is not None else None
        self._events.retried()
        _logger.warning(
            "store_retry",
            attempt=state.attempt_number,
            error=str(exc),
            cause=_cause(exc),
            wait_seconds=round(state.next_action.sleep, 3) if state.next_action else None,
        )

    def _from(self) -> int:
        # Where several gateways share a log, another's persister may have gone on.
        return max(self._position, self._log.tail.watermark)

    def _has_work(self) -> bool:
        return self._log.tail.head > self._from()

    async def _gather(self) -> None:
        """Wait for a record, then until a batch is full or its time is over."""
        while not self._stopping.is_set() and not self._has_work():
            self._idle = True
            self._wake.clear()
            await self._wake.wait()
        self._idle = False
        deadline = asyncio.get_running_loop().time() + self._batch_seconds
        try:
            async with asyncio.timeout_at(deadline):
                while not self._stopping.is_set() and not self._is_full():
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

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
        gone = False
        while not self._stopping.is_set() and (left := deadline - now()) > 0:
            if await self._answers():
                if not gone:
                    await self._pause(deadline - now())
                return
            gone = True
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
    return {
        "count": len(records),
        "first_id": format_id(records[0].id),
        "last_id": format_id(records[-1].id),
    }


def _cause(exc: BaseException | None) -> str | None:
    """The driver's own words, cut short; they name servers, never content."""
    cause = exc.__cause__ if exc is not None else None
    return f"{type(cause).__name__}: {cause}"[:300] if cause is not None else None
