"""A log that checks what a persister passes, and events that are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.persister.persister import Persister
from testkit.memory_store import MemoryStore
from tests.unit.support.fake_log import FakeLog
from tests.unit.support.noted_log import NotedLog

Make = Callable[..., Persister]


@asynccontextmanager
async def running(log: FakeLog, store: MemoryStore, **options: Any) -> AsyncIterator[Persister]:
    """A persister that was started; stopped in the end, and nothing more is stored then."""
    persister = Persister(log, store, **options)
    persister.start()
    try:
        yield persister
    finally:
        await persister.stop(drain=False)


class Counted(PersisterEvents):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def stored(self, count: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append(("stored", count))

    def retried(self) -> None:
        self.seen.append(("retried", 1))

    def round_failed(self) -> None:
        self.seen.append(("round_failed", 1))

    def dead_lettered(self, count: int) -> None:
        self.seen.append(("dead_lettered", count))

    def total(self, name: str) -> int:
        return sum(count for event, count in self.seen if event == name)


class WatchedLog(NotedLog):
    """Checks at every advance that nothing is passed that is neither stored nor put aside."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store
        self.advances: list[int] = []

    def advance_watermark(self, watermark: int) -> None:
        kept = self.store.records.keys() | self.store.letters.held.keys()
        for one in self.tail.batch(self.tail.watermark, 100_000, 1 << 30):
            assert one.id > watermark or one.id in kept
        self.advances.append(watermark)
        super().advance_watermark(watermark)
