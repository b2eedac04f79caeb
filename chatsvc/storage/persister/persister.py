"""The one writer of a store: a consumer of the log whose position is the store's watermark.

The watermark advances over what is stored and over what was put aside as a dead letter, both
durable by then, and over nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import structlog

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.core.record import Record
from chatsvc.log.base import StoreFeed
from chatsvc.storage.consumer.consumer import Consumer
from chatsvc.storage.consumer.status import cause
from chatsvc.storage.persister.attached_store import (
    LOOK_SECONDS,
    AttachedStore,
    LookedAtStore,
    StoreMoved,
)
from chatsvc.storage.persister.batch_writer import BatchWriter, WritableStore
from chatsvc.storage.persister.batches import BatchSource, UnknownKind
from chatsvc.storage.persister.events import PersisterEvents, PersisterHealth
from chatsvc.storage.persister.status import PersisterStatus

_logger = structlog.get_logger("chatsvc.persister")


class PersisterStore(LookedAtStore, WritableStore, Protocol):
    """A store, as far as it is filled from the log."""


class Persister(Consumer):
    """The one writer of a store.

    Args:
        log: read from its tail, and from its file what a store lacks that another had.
        store: opened here if it is not yet, and again for as long as it is away.
        batch: messages in one go while keeping up.
        batch_ms: how long a batch waits for company, in milliseconds.
        events: told what happens.
        look_seconds: how often to look whether it is still the same store.
        kinds: those that the store takes; the persister halts at any other.

    The other arguments are those of :class:`~chatsvc.storage.consumer.consumer.Consumer`.
    """

    expected_errors: ClassVar[tuple[type[Exception], ...]] = (StoreUnavailable, StoreMoved)

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
        self._events = events or PersisterEvents()
        source = self._source = BatchSource(log, store, batch, kinds)
        self._attached = AttachedStore(
            log, store, look_seconds=look_seconds, attached=source.restart
        )
        self._writer = BatchWriter(log, store, self._attached, self._events)
        self._status = PersisterStatus(log.tail, self._events)
        self._rejected = 0
        self._is_too_new = False
        super().__init__(
            "persister",
            log.tail,
            source,
            self._attached,
            self._status,
            attempts=attempts,
            batch_seconds=batch_ms / 1000,
            first_wait=first_wait,
            first_pause=first_pause,
            probe_seconds=probe_seconds,
            look_seconds=look_seconds,
        )

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        return self._status.health

    def store_lost(self) -> None:
        """It did not answer: until it was looked at again, it is not relied on."""
        self._attached.lost()

    def store_back(self) -> None:
        """It answers again: look at it now."""
        self._attached.is_back = True
        self._pauses.wake()

    async def _attempt(self) -> Sequence[Record]:
        """Store the next batch, with the store's watermark."""
        if self._attached.is_due():
            await self._attached.look()
        records = self._tried = await self._source.next()
        self._rejected = await self._writer.write(records) if records else 0
        if not records:
            await self._attached.mark_all_stored()
        return records

    async def _look(self) -> None:
        try:
            await self._attached.look()
            if not self._source.has_work():
                await self._attached.mark_all_stored()
        except VersionTooNew as exc:
            self._halt(exc)
        except (StoreUnavailable, StoreMoved) as exc:
            _logger.debug("store_not_seen", error=str(exc), cause=cause(exc))
        except Exception as exc:
            _logger.exception("persister_error")
            self._failed(exc)

    async def _after_halting(self) -> None:
        """Look at the store although nothing can be stored: readers go by what is found."""
        while not self._pauses.stopping.is_set() and not self._is_too_new:
            await self._pauses.until_look()
            if self._attached.is_back or self._attached.is_due():
                await self._look()

    def _halt(self, exc: Exception) -> bool:
        if isinstance(exc, VersionTooNew):
            self._is_too_new = True
            self._status.halt("store_too_new", str(exc))
        elif isinstance(exc, UnknownKind):
            self._status.halt("unknown_kind", str(exc))
        else:
            return False
        return True

    def _done(self, records: Sequence[Record], seconds: float) -> None:
        self._events.stored(len(records) - self._rejected, seconds)

    def _failed(self, exc: Exception) -> None:
        self._attached.must_look = True
        super()._failed(exc)
