"""A log in memory that notes what a persister asks of it."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc.core.record import Record
from chatsvc.log.reconcile import StoreState
from tests.unit.support.fake_log import FakeLog


class NotedLog(FakeLog):
    """``begin_at``: from where on is stored; what is read, attached, held and learnt is
    noted."""

    def __init__(self) -> None:
        super().__init__()
        self.begin_at: int | None = None
        self.reads: list[tuple[int, int, int, int]] = []
        self.attachments = 0
        self.learnt: list[tuple[int, Sequence[tuple[str, int]]]] = []
        self.unknown = False
        self.held: list[int | None] = []

    @property
    def store_from(self) -> int:
        return self.tail.stored if self.begin_at is None else self.begin_at

    @property
    def past_is_unknown(self) -> bool:
        return self.unknown

    def learn_past(self, newest: int, ahead: Sequence[tuple[str, int]]) -> None:
        assert self.unknown, "nothing is unknown"
        self.unknown = False
        self.learnt.append((newest, ahead))

    def hold_touches(self, above: int | None) -> None:
        self.held.append(above)
        super().hold_touches(above)

    async def attach_store(self, store: StoreState) -> None:
        self.attachments += 1
        await super().attach_store(store)

    async def read(self, after: int, up_to: int, limit: int, max_bytes: int) -> list[Record]:
        self.reads.append((after, up_to, limit, max_bytes))
        return await super().read(after, up_to, limit, max_bytes)
