"""How the rounds go, kept for ``/health`` and told to log and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from tenacity import RetryCallState

from chatsvc.core.errors import ChatError
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.persister.attached_store import StoreMoved
from chatsvc.storage.persister.events import PersisterEvents, PersisterHealth, Status

_logger = structlog.get_logger("chatsvc.persister")


class PersisterStatus:
    """The outcome of the last rounds.

    Args:
        tail: of the log, whose backlog is told of.
        events: told of retries and of rounds that failed.
    """

    def __init__(self, tail: Tail, events: PersisterEvents) -> None:
        self._tail = tail
        self._events = events
        self._status: Status = "ok"
        self._error: str | None = None
        self.rounds_failed = 0
        """How many rounds failed in a row."""

    @property
    def health(self) -> PersisterHealth:
        """How it goes."""
        status, error = self._status, self._error
        if status == "ok" and self._tail.refilling:
            status = "degraded"
            error = "the store lacks what one before it had, and is being filled from the log"
        return PersisterHealth(status, error, self._tail.unsaved_count)

    def has_stopped(self) -> bool:
        """Whether the persister can do nothing any more."""
        return self._status == "stopped"

    def halt(self, event: str, error: str) -> None:
        """Stop: only another program can go on."""
        self._status, self._error = "stopped", error
        _logger.critical(event, error=error, backlog=self._tail.unsaved_count)

    def succeeded(self, records: Sequence[Record]) -> None:
        """Note that a round stored these."""
        if self.rounds_failed:
            _logger.info("store_recovered", rounds=self.rounds_failed, **span(records))
        self.rounds_failed = 0
        self._status, self._error = "ok", None

    def failed(self, exc: Exception, tried: Sequence[Record]) -> None:
        """Note that a round failed that tried to store these."""
        self.rounds_failed += 1
        text = str(exc) if isinstance(exc, ChatError | StoreMoved) else type(exc).__name__
        if not self.has_stopped():
            self._status, self._error = "degraded", text
        self._events.round_failed()
        _logger.error(
            "round_failed",
            round=self.rounds_failed,
            error=text,
            cause=cause(exc),
            backlog=self._tail.unsaved_count,
            **span(tried),
        )

    def retried(self, state: RetryCallState) -> None:
        """Note that an attempt of a round failed, and another follows."""
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
            cause=cause(exc),
            wait_seconds=round(action.sleep, 3),
        )


def span(records: Sequence[Record]) -> dict[str, Any]:
    """The fields of a log line about records."""
    if not records:
        return {"count": 0}
    return {
        "count": len(records),
        "first_id": format_id(records[0].id),
        "last_id": format_id(records[-1].id),
    }


def cause(exc: BaseException) -> str | None:
    """The driver's own words, cut short; they name servers, never content."""
    found = exc.__cause__
    return f"{type(found).__name__}: {found}"[:300] if found is not None else None
