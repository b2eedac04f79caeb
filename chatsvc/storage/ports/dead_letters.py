"""The port of dead letters: records that could not be stored, with their reasons and bytes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class DeadLetter(NamedTuple):
    """What could not be stored: ``data`` is the record as packed by ``core.record.pack``.

    ``at_ms`` is when it was put aside, in Unix milliseconds.
    """

    id: int
    code: str
    reason: str
    at_ms: int
    data: bytes


class DeadLetters(Protocol):
    """The dead letters of a store, keyed by id: adding one again replaces its reason."""

    @abc.abstractmethod
    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Durable on return."""

    @abc.abstractmethod
    async def list(self, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Ascending by id."""

    @abc.abstractmethod
    async def get(self, letter_id: int) -> DeadLetter | None:
        """One of them, or ``None``."""

    @abc.abstractmethod
    async def newest(self) -> DeadLetter | None:
        """The one with the highest id, or ``None`` where there is none."""

    @abc.abstractmethod
    async def drop(self, ids: Sequence[int]) -> int:
        """Remove for good; how many there were."""

    @abc.abstractmethod
    async def count(self) -> int:
        """How many there are."""


class HasDeadLetters(Protocol):
    """A store with its dead letters."""

    dead_letters: DeadLetters
