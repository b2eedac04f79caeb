"""The port by which a store is opened, asked whether it answers, and closed."""

from __future__ import annotations

import abc
from typing import NamedTuple, Protocol


class Versions(NamedTuple):
    """Of the persisted form: ``found`` is 0 where nothing is there yet."""

    found: int
    current: int


class StoreLifecycle(Protocol):
    """Opening and closing."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Make or check the indexes and the version.

        Safe to call again; a store that was away at the first call is opened by a later one.

        Tables of an older version are moved forward.

        Raises:
            VersionTooNew: written by a newer program.
        """

    @abc.abstractmethod
    async def versions(self) -> Versions:
        """What version is there, and which this program writes; changes nothing."""

    @abc.abstractmethod
    async def ping(self) -> None:
        """Answers quickly or raises ``StoreUnavailable``."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Idempotent."""
