"""A tail, a store and a resumer between them and the hub, and what a connection is shown."""

from __future__ import annotations

import asyncio
from typing import Any

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.filters import NO_FILTERS
from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds, RecordPage, take
from chatsvc.core.record import Record
from chatsvc.delivery.fanout import Fanout
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Plan, Resumer
from chatsvc.delivery.selection import Selection
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.tail import Tail
from chatsvc.storage.history.pages import entry_of
from testkit.drafts import record
from testkit.selecting import SELECTION
from tests.unit.support.sockets import FakeTransport, attach, connection, texts

SOON = 20


class Store:
    """History over everything up to the tail's floor; ``fails_after`` pages it is gone."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.calls: list[str] = []
        self.fails_after: int | None = None
        self.gate: asyncio.Event | None = None
        self.largest = 0
        self.oldest = 0

    def oldest_kept(self) -> int:
        return self.oldest

    async def user_page(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> RecordPage:
        await self._answer("page")
        inside = self._of(user, bounds, kinds)
        page = take(inside[: bounds.limit], lambda one: len(one.body), bounds.max_bytes)
        self.largest = max(self.largest, sum(len(one.body) for one in page))
        has_more = len(page) < len(inside)
        up_to = page[-1].id if has_more else bounds.before - 1
        return RecordPage([entry_of(one) for one in page], up_to, has_more, True)

    async def count_user(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> int:
        await self._answer("count")
        return min(bounds.limit, len(self._of(user, bounds, kinds)))

    async def count_shown(
        self, user: str, bounds: Bounds, kinds: frozenset[str] | None = None
    ) -> int:
        await self._answer("count shown")
        return 0

    async def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails_after is not None and self.calls.count("page") > self.fails_after:
            raise StoreUnavailable("the store does not answer")

    def _of(self, user: str, bounds: Bounds, kinds: frozenset[str] | None) -> list[Record]:
        assert not bounds.newest
        return [
            one
            for one in self.records
            if user in one.audience
            and bounds.after < one.id < bounds.before
            and (kinds is None or one.kind in kinds)
        ]


class Resumption:
    """A tail, a store, and a resumer between them and the hub."""

    def __init__(
        self,
        *,
        recent_bytes: int = 0,
        max_messages: int = 1000,
        selection: Selection = SELECTION,
    ) -> None:
        self.tail = Tail(recent_bytes=recent_bytes)
        self.store = Store()
        self.hub = Hub()
        self.resumer = Resumer(
            epoch="e",
            tail=self.tail,
            hub=self.hub,
            backfill=self.store,
            selection=selection,
            max_messages=max_messages,
            filters_of=lambda user: selection.filters.get(user, NO_FILTERS),
        )
        self.tail.listen(
            Fanout(self.hub, selection, Acknowledgements(), self.resumer.take_over).accept
        )

    def live(self, user: str = "bob", capacity: int | None = None, **options: Any) -> FakeTransport:
        """A connection that is served what comes from now on."""
        one = connection(user, "laptop", **options)
        transport = attach(one, capacity)
        self.hub.add(one)
        return transport

    def accept(self, *records: Record) -> None:
        self.store.records += records
        self.tail.extend(records)

    def cursor(self, position: int) -> str:
        return f"e.{format_id(position)}"

    async def resume(
        self, since: str, *, user: str = "bob", capacity: int | None = None, **options: Any
    ) -> tuple[Plan, FakeTransport]:
        one = connection(user, "laptop", **options)
        transport = attach(one, capacity)
        plan = await self.resumer.plan(user, since, one.kinds)
        await asyncio.wait_for(self.resumer.run(one, plan), SOON)
        return plan, transport

    async def full(self, at: int = 1) -> FakeTransport:
        """One that has not taken what it was sent: message ``at``, of 90 KB."""
        transport = self.live(capacity=0)
        self.accept(record(at, "x" * 90_000))
        await turns(5)
        assert transport.connection.slow_since
        return transport


def shown(transport: FakeTransport) -> list[Any]:
    """Ids of messages; other frames as (type, what they name)."""
    found: list[Any] = []
    for frame in texts(transport.wire):
        if frame["type"] == "message":
            found.append(int(frame["id"], 16))
        elif frame["type"] == "gap":
            found.append(("gap", int(frame["from"], 16), int(frame["to"], 16)))
        else:
            found.append((frame["type"], frame["cursor"]))
    return found


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
