"""What a persister tells: its state for ``/health``, and what happens, for metrics."""

from __future__ import annotations

from typing import NamedTuple

from chatsvc.storage.consumer.status import Status


class PersisterHealth(NamedTuple):
    """The state of the persister, for ``/health``.

    ``backlog`` is the number of messages accepted and not yet stored; ``error`` the text of the
    last failure while it lasts.
    """

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

    def dead_lettered(self, count: int) -> None:
        """Records became dead letters."""
