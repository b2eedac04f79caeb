"""The one writer of a store: rounds of attempts at one batch after another.

The watermark advances over what is stored and over what was put aside as a dead letter, both
durable by then, and over nothing else.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final, Protocol

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

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.record import Record
from chatsvc.log.base import StoreFeed
from chatsvc.storage.persister.attached_store import (
    LOOK_SECONDS,
    AttachedStore,
    LookedAtStore,
    StoreMoved,
)
from chatsvc.storage.persister.batch_writer import BatchWriter, WritableStore
from chatsvc.storage.persister.batches import BatchSource, UnknownKind
from chatsvc.storage.persister.events import PersisterEvents, PersisterHealth
from chatsvc.storage.persister.pauses import Pauses
from chatsvc.storage.persister.status import PersisterStatus, cause, span

MAX_PAUSE: Final = 30.0
"""Seconds between rounds at most."""

_logger = structlog.get_logger("chatsvc.persister")


class PersisterStore(LookedAtStore, WritableStore, Protocol):
    """A store, as far as it is filled from the log."""


class _StopWhenSet(stop_base):
    """No further attempt once the event is set."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._event.is_set()


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
        kinds: those that the store takes; the persister halts at any other.
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
        kinds: Kinds = MESSAGES_ONLY,
    ) -> None:
        self._log = log
        self._events = events or PersisterEvents()
        self._first_pause = first_pause
        source = self._source = BatchSource(log, store, batch, kinds)
        self._attached = AttachedStore(
            log, store, look_seconds=look_seconds, attached=source.restart
        )
        self._writer = BatchWriter(log, store, self._attached, self._events)
        self._status = PersisterStatus(log.tail, self._events)
        self._pauses = Pauses(
            source,
            self._attached,
            self._status,
            batch_seconds=batch_ms / 1000,
            probe_seconds=probe_seconds,
            look_seconds=look_seconds,
        )
        self._tried: Sequence[Record] = ()
        self._task: asyncio.Task[None] | None = None
        self._drain = False
        self._is_too_new = False
        self._retrying = AsyncRetrying(
            stop=stop_any(stop_after_attempt(attempts), _StopWhenSet(self._pauses.stopping)),
            wait=wait_random_exponential(multiplier=first_wait, max=5.0),
            retry=retry_if_exception_type(StoreUnavailable),
            before_sleep=self._status.retried,
            sleep=self._pauses.pause,
            reraise=True,
        )

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        return self._status.health

    def start(self) -> None:
        """Begin, in a task of its own."""
        if self._task is not None:
            raise RuntimeError("a persister starts once")
        self._log.tail.listen(self._pauses.on_records)
        self._task = asyncio.create_task(self._run(), name="persister")

    async def stop(self, *, drain: bool, seconds: float = 5.0) -> None:
        """End after what is being written; with ``drain``, after a last attempt at the rest.

        Args:
            drain: whether to try.
            seconds: the most that this takes. What is not stored by then stays in the
                log, and is stored after the next start.
        """
        self._drain = drain
        self._pauses.stop()
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
        self._attached.lost()

    def store_back(self) -> None:
        """It answers again: look at it now."""
        self._attached.is_back = True
        self._pauses.wake()

    async def _run(self) -> None:
        while True:
            try:
                return await self._work_until_stopped()
            except Exception as exc:  # a fault of ours, or of a store: what is unsaved is kept
                _logger.exception("persister_error")
                self._tried = ()
                self._failed(exc)
            if self._pauses.stopping.is_set():
                return None
            await self._pauses.pause(self._max_pause() * random.uniform(0.5, 1.0))

    async def _work_until_stopped(self) -> None:
        while not self._pauses.is_over():
            await self._pauses.gather(self._glance)
            if self._source.has_work():
                await self._work()
        while self._drain and not self._status.has_stopped() and self._source.has_work():
            if not await self._round():
                break
        if not self._pauses.stopping.is_set():
            await self._look_on()

    async def _look_on(self) -> None:
        """Look at the store although nothing can be stored: readers go by what is found."""
        while not self._pauses.stopping.is_set() and not self._is_too_new:
            await self._pauses.until_look()
            if self._attached.is_back or self._attached.is_due():
                await self._glance()

    async def _work(self) -> None:
        """One batch: rounds until it is stored, or the persister stops."""
        while not self._pauses.is_over():
            if await self._round():
                return
            await self._pauses.rest(self._max_pause() * random.uniform(0.5, 1.0))

    def _max_pause(self) -> float:
        """Seconds after the last of the rounds that failed in a row."""
        doublings = min(self._status.rounds_failed - 1, 16)
        return min(MAX_PAUSE, self._first_pause * 2.0**doublings)

    async def _round(self) -> bool:
        """Attempts at the next batch; whether it is stored."""
        started = time.monotonic()
        self._tried = ()
        try:
            done: tuple[Sequence[Record], int] = await self._retrying(self._attempt)
        except VersionTooNew as exc:
            self._halt_at_version(exc)
        except UnknownKind as exc:
            self._status.halt("unknown_kind", str(exc))
        except (StoreUnavailable, StoreMoved) as exc:
            self._failed(exc)
        except Exception as exc:  # whatever it is, the batch is kept and tried again
            _logger.exception("persister_error", **span(self._tried))
            self._failed(exc)
        else:
            records, rejected = done
            if records:
                self._source.advance(records[-1].id)
                self._events.stored(len(records) - rejected, time.monotonic() - started)
            self._status.succeeded(records)
            return True
        return False

    async def _attempt(self) -> tuple[Sequence[Record], int]:
        """Store the next batch; what it was, and how many of it were not stored as they are."""
        if self._attached.is_due():
            await self._attached.look()
        records = self._tried = await self._source.next()
        if not records:
            return records, 0
        return records, await self._writer.write(records)

    async def _glance(self) -> None:
        """Look at the store while there is nothing to do."""
        try:
            await self._attached.look()
        except VersionTooNew as exc:
            self._halt_at_version(exc)
        except StoreUnavailable as exc:
            _logger.debug("store_not_seen", error=str(exc), cause=cause(exc))
        except Exception as exc:
            _logger.exception("persister_error")
            self._failed(exc)

    def _halt_at_version(self, exc: VersionTooNew) -> None:
        self._is_too_new = True
        self._status.halt("store_too_new", str(exc))

    def _failed(self, exc: Exception) -> None:
        self._attached.must_look = True
        self._status.failed(exc, self._tried)
