"""What reads the log with a position of its own: rounds of attempts at one batch after another.

The position is stored with the effects of its batch, so that a batch that was cut off is done
again, and one that was done is not. The persister is one, and the only one that holds back the
log's trimming; one that falls below what the log has goes on from the store's records
(:mod:`chatsvc.storage.consumer.feed`).
"""

from __future__ import annotations

import abc
import asyncio
import random
import time
from collections.abc import Sequence
from typing import ClassVar, Final

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.consumer.pauses import Pauses, Source, Target
from chatsvc.storage.consumer.status import ConsumerStatus

MAX_PAUSE: Final = 30.0
"""Seconds between rounds at most."""


class _StopWhenSet(stop_base):
    """No further attempt once the event is set."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._event.is_set()


class Consumer(abc.ABC):
    """A reader of the log with a position of its own; what it does is the subclass's.

    A round is a number of attempts at the next batch, with growing waits between them. Between
    rounds that fail there are pauses, which double; the batch is kept, whatever the error.

    Args:
        name: of its task, and of its log lines.
        tail: of the log, which wakes it.
        source: which records come next.
        target: where their effects go.
        status: how it goes.
        attempts: tries in a round.
        batch_seconds: how long a batch waits for more records.
        first_wait: the scale of the backoff within a round, in seconds.
        first_pause: between the first two rounds, in seconds; it doubles up to
            :data:`MAX_PAUSE`.
        probe_seconds: how often, in such a pause, a target that is unavailable is asked whether
            it is back.
        look_seconds: how often to look at a target that gives no cause.
    """

    expected_errors: ClassVar[tuple[type[Exception], ...]] = (StoreUnavailable,)
    """Errors that are no fault of the program."""

    def __init__(
        self,
        name: str,
        tail: Tail,
        source: Source,
        target: Target,
        status: ConsumerStatus,
        *,
        attempts: int = 5,
        batch_seconds: float = 0.05,
        first_wait: float = 0.1,
        first_pause: float = 1.0,
        probe_seconds: float = 2.0,
        look_seconds: float = 60.0,
    ) -> None:
        self._name = name
        self._tail = tail
        self._consumed = source
        self._progress = status
        self._first_pause = first_pause
        self._pauses = Pauses(
            source,
            target,
            status,
            batch_seconds=batch_seconds,
            probe_seconds=probe_seconds,
            look_seconds=look_seconds,
        )
        self._tried: Sequence[Record] = ()
        self._task: asyncio.Task[None] | None = None
        self._drain = False
        self._retrying = AsyncRetrying(
            stop=stop_any(stop_after_attempt(attempts), _StopWhenSet(self._pauses.stopping)),
            wait=wait_random_exponential(multiplier=first_wait, max=5.0),
            retry=retry_if_exception_type(StoreUnavailable),
            before_sleep=status.retried,
            sleep=self._pauses.pause,
            reraise=True,
        )

    @abc.abstractmethod
    async def _attempt(self) -> Sequence[Record]:
        """Do the next batch, store the position with it, and return the batch.

        ``_tried`` is set to it before. Nothing where there was nothing to do.
        """

    async def _look(self) -> None:  # noqa: B027 - few have something to look at
        """Look at the target while there is nothing to do."""

    async def _after_halting(self) -> None:  # noqa: B027 - the same
        """Go on with whatever needs no batch, until the consumer is stopped."""

    def _halt(self, exc: Exception) -> bool:
        """Stop at an error that only another program can end; whether it is one."""
        return False

    def _done(self, records: Sequence[Record], seconds: float) -> None:  # noqa: B027
        """Note that a batch is done, ``seconds`` after its first attempt began."""

    def _failed(self, exc: Exception) -> None:
        """Note that a round failed."""
        self._progress.failed(exc, self._tried)

    def start(self) -> None:
        """Begin, in a task of its own."""
        if self._task is not None:
            raise RuntimeError(f"a {self._name} starts once")
        self._tail.listen(self._pauses.on_records)
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self, *, drain: bool, seconds: float = 5.0) -> None:
        """End after the batch that is being done; with ``drain``, after a last attempt at the rest.

        Args:
            drain: whether to try.
            seconds: the most that this takes. What is not done by then is done after the next
                start.
        """
        self._drain = drain
        self._pauses.stop()
        task = self._task
        if task is None:
            return
        _, pending = await asyncio.wait({task}, timeout=seconds)
        if pending:
            self._progress.cut_off()
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            try:
                return await self._work_until_stopped()
            except Exception as exc:  # noqa: BLE001 - it is logged, and what is undone is kept
                self._progress.broken(exc)
                self._tried = ()
                self._failed(exc)
            if self._pauses.stopping.is_set():
                return None
            await self._pauses.pause(self._max_pause() * random.uniform(0.5, 1.0))

    async def _work_until_stopped(self) -> None:
        while not self._pauses.is_over():
            await self._pauses.gather(self._look)
            if self._consumed.has_work():
                await self._work()
        while self._drain and not self._progress.has_stopped() and self._consumed.has_work():
            if not await self._round():
                break
        if not self._pauses.stopping.is_set():
            await self._after_halting()

    async def _work(self) -> None:
        """One batch: rounds until it is done, or the consumer stops."""
        while not self._pauses.is_over():
            if await self._round():
                return
            await self._pauses.rest(self._max_pause() * random.uniform(0.5, 1.0))

    def _max_pause(self) -> float:
        """Seconds after the last of the rounds that failed in a row."""
        doublings = min(self._progress.rounds_failed - 1, 16)
        return min(MAX_PAUSE, self._first_pause * 2.0**doublings)

    async def _round(self) -> bool:
        """Attempts at the next batch; whether it is done."""
        started = time.monotonic()
        self._tried = ()
        try:
            records: Sequence[Record] = await self._retrying(self._attempt)
        except Exception as exc:  # noqa: BLE001 - it is logged; the batch is tried again
            if not self._halt(exc):
                if not isinstance(exc, self.expected_errors):
                    self._progress.broken(exc, self._tried)
                self._failed(exc)
        else:
            if records:
                self._consumed.advance(records[-1].id)
                self._done(records, time.monotonic() - started)
            self._progress.succeeded(records)
            return True
        return False
