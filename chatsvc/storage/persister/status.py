"""How storing goes: the rounds of the persister, and whether a store is being filled again."""

from __future__ import annotations

from collections.abc import Sequence

from tenacity import RetryCallState

from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.consumer.status import ConsumerStatus, span
from chatsvc.storage.persister.attached_store import StoreMoved
from chatsvc.storage.persister.events import PersisterEvents, PersisterHealth


class PersisterStatus(ConsumerStatus):
    """The outcome of the last rounds.

    Args:
        tail: of the log, whose backlog is told of.
        events: told of retries and of rounds that failed.
    """

    def __init__(self, tail: Tail, events: PersisterEvents) -> None:
        super().__init__("persister", lambda: tail.unsaved_count, (StoreMoved,))
        self._tail = tail
        self._events = events

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        status, error = self.status, self.error
        if status == "ok" and self._tail.refilling:
            status = "degraded"
            error = "the store lacks what one before it had, and is being filled from the log"
        return PersisterHealth(status, error, self.backlog)

    def failed(self, exc: Exception, tried: Sequence[Record]) -> None:
        super().failed(exc, tried)
        self._events.round_failed()

    def broken(self, exc: Exception, tried: Sequence[Record] | None = None) -> None:
        fields = {} if tried is None else span(tried)
        self.logger.error("persister_error", exc_info=exc, **fields)

    def cut_off(self) -> None:
        self.logger.warning("persister_cut_off", backlog=self.backlog)

    def retried(self, state: RetryCallState) -> None:
        self._events.retried()
        super().retried(state)
