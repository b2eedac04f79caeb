"""A log that checks what a persister passes, and events that are counted."""

from __future__ import annotations

from collections.abc import Callable

from chatsvc.core.record import Record
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.persister.events import PersisterEvents
from chatsvc.storage.persister.persister import Persister
from testkit.memory_store import MemoryStore
from tests.unit.support.fake_log import FakeLog

Make = Callable[..., Persister]


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


class WatchedLog(FakeLog):
    """Checks at every advance that nothing is passed that is neither stored nor put aside."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store
        self.advances: list[int] = []
        self.reads: list[int] = []
        self.meetings = 0
        self.begin_at: int | None = None

    @property
    def store_from(self) -> int:
        return self.tail.stored if self.begin_at is None else self.begin_at

    async def attach_store(self, store: StoreState) -> None:
        self.meetings += 1
        await super().attach_store(store)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        self.reads.append(after)
        return await super().read(after, up_to, limit, max_bytes)

    def advance_watermark(self, watermark: int) -> None:
        kept = self.store.records.keys() | self.store.letters.held.keys()
        for one in self.tail.batch(self.tail.watermark, 100_000, 1 << 30):
            assert one.id > watermark or one.id in kept
        self.advances.append(watermark)
        super().advance_watermark(watermark)
