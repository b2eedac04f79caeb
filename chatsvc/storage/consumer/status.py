"""How the rounds of a consumer go, kept for ``/health`` and told to the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import structlog
from tenacity import RetryCallState

from chatsvc.core.errors import ChatError
from chatsvc.core.ids import format_id
from chatsvc.core.record import Record

Status = Literal["ok", "degraded", "stopped"]


class ConsumerStatus:
    """The outcome of the last rounds.

    Args:
        name: of the consumer: its log lines are those of ``chatsvc.<name>``.
        backlog: how many records are accepted and not done yet.
        explained: the errors whose text is for operators, beside those of ``core/errors.py``.
    """

    def __init__(
        self,
        name: str,
        backlog: Callable[[], int],
        explained: tuple[type[Exception], ...] = (),
    ) -> None:
        self.logger = structlog.get_logger(f"chatsvc.{name}")
        self._backlog = backlog
        self._explained: tuple[type[Exception], ...] = (ChatError, *explained)
        self.status: Status = "ok"
        self.error: str | None = None
        """The text of the last failure, while it lasts."""
        self.rounds_failed = 0
        """How many rounds failed in a row."""

    @property
    def backlog(self) -> int:
        """How many records are accepted and not done yet."""
        return self._backlog()

    def has_stopped(self) -> bool:
        """Whether the consumer can do nothing any more."""
        return self.status == "stopped"

    def halt(self, event: str, error: str) -> None:
        """Stop: only another program can go on."""
        self.status, self.error = "stopped", error
        self.logger.critical(event, error=error, backlog=self.backlog)

    def succeeded(self, records: Sequence[Record]) -> None:
        """Note that a round did these."""
        if self.rounds_failed:
            self.logger.info("store_recovered", rounds=self.rounds_failed, **span(records))
        self.rounds_failed = 0
        self.status, self.error = "ok", None

    def failed(self, exc: Exception, tried: Sequence[Record]) -> None:
        """Note that a round failed that tried to do these."""
        self.rounds_failed += 1
        text = str(exc) if isinstance(exc, self._explained) else type(exc).__name__
        if not self.has_stopped():
            self.status, self.error = "degraded", text
        self.logger.error(
            "round_failed",
            round=self.rounds_failed,
            error=text,
            cause=cause(exc),
            backlog=self.backlog,
            **span(tried),
        )

    def broken(self, exc: Exception, tried: Sequence[Record] | None = None) -> None:
        """Log an error that nobody foresaw, with where it came from."""
        fields = {} if tried is None else span(tried)
        self.logger.error("consumer_error", exc_info=exc, **fields)

    def cut_off(self) -> None:
        """Note that it was ended before it had ended by itself."""
        self.logger.warning("consumer_cut_off", backlog=self.backlog)

    def retried(self, state: RetryCallState) -> None:
        """Note that an attempt of a round failed, and another follows."""
        outcome, action = state.outcome, state.next_action
        assert outcome is not None  # so it is before every wait
        assert action is not None
        exc = outcome.exception()
        assert exc is not None
        self.logger.warning(
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
