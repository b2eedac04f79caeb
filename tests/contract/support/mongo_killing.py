"""A process that dies between two of its calls to MongoDB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from chatsvc.storage.mongo.connection import MongoConnection

T = TypeVar("T")


class Killed(Exception):
    """Of the process, in the place of a call."""


class Killer:
    """Lets so many calls of the writers' client through, then none; all where it is negative."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1

        async def attempt(_: MongoConnection, call: Callable[[], Awaitable[T]]) -> T:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return await call()

        monkeypatch.setattr(MongoConnection, "attempt", attempt)
