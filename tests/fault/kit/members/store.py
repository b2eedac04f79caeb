"""A store that is put back, or breaks off, in the middle of what is done with it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.membership import Interval
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from tests.contract.support.projected import BOTH
from tests.fault.kit.members.feature import KINDS

Swap = Callable[[], Awaitable[None]]


class MemberStore(SqliteStore):
    """An embedded store with what befalls a store.

    ``unavailable``: it does not answer. ``partly``: it takes a part of the next batch, as a
    database without transactions does. ``answer_lost``: it sets the next watermark, and says
    that it did not. ``exchanges_left``: so many pages of the state it hands over or takes.
    ``between`` is called once, in the middle of the next batch, and ``before_mark`` once, before
    the next watermark. ``batches`` are those that were written.
    """

    def __init__(self, path: Path, dice: random.Random) -> None:
        super().__init__(path, kinds=KINDS, projections=BOTH)
        self.path = path
        self.unavailable = False
        self.partly = False
        self.answer_lost = False
        self.exchanges_left: int | None = None
        self.between: Swap | None = None
        self.before_mark: Swap | None = None
        self.batches: list[tuple[Record, ...]] = []
        self._dice = dice

    def _check(self) -> None:
        if self.unavailable:
            raise StoreUnavailable("unavailable")

    async def _once(self, name: str) -> None:
        swap: Swap | None = getattr(self, name)
        if swap is not None:
            setattr(self, name, None)
            await swap()

    async def open(self) -> None:
        self._check()
        await super().open()

    async def ping(self) -> None:
        self._check()
        await super().ping()

    async def identity(self) -> str:
        self._check()
        return await super().identity()

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._check()
        await self._once("before_mark")
        done = await super().set_watermark(expected, new)
        if self.answer_lost:
            self.answer_lost = False
            raise StoreUnavailable("the answer was lost")
        return done

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._check()
        self.batches.append(tuple(records))
        if self.partly:
            self.partly = False
            await super().write([one for one in records if self._dice.random() < 0.5])
            raise StoreUnavailable("a part of it")
        if self.between is None:
            return await super().write(records)
        middle = len(records) // 2
        rejections = await super().write(records[:middle])
        await self._once("between")
        return rejections + await super().write(records[middle:])

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().user_records(user, bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().user_page(user, bounds)

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().channel_page(channel, bounds)

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        self._check()
        return await super().count_user_records(user, bounds)

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        self._check()
        return await super().intervals(user, channel)

    def _exchange(self) -> None:
        self._check()
        if self.exchanges_left is not None:
            if not self.exchanges_left:
                self.exchanges_left = None
                raise StoreUnavailable("broken off")
            self.exchanges_left -= 1

    async def state_page(self, after: str, limit: int) -> StatePage:
        self._exchange()
        return await super().state_page(after, limit)

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        self._exchange()
        await super().put_state(rows)
