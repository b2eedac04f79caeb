"""A store in memory, a log that is checked, and persisters between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.storage.persister.persister import Persister
from testkit.memory_store import MemoryStore
from tests.unit.support.persisting import Make, WatchedLog


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log(store: MemoryStore) -> WatchedLog:
    return WatchedLog(store)


@pytest.fixture
async def make(log: WatchedLog, store: MemoryStore) -> AsyncIterator[Make]:
    made: list[Persister] = []

    def build(**options: Any) -> Persister:
        quick = {"batch_ms": 1, "first_wait": 0.001, "first_pause": 0.005, "probe_seconds": 0.005}
        persister = Persister(log, store, **(quick | options))
        made.append(persister)
        return persister

    yield build
    for persister in made:
        await persister.stop(drain=False)
