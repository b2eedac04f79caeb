"""Stores that go away when told to, fail by halves, or are put back in the middle of a batch."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import STEP
from chatsvc.core.kinds import Kinds
from chatsvc.core.projection import NO_PROJECTIONS, Projections
from chatsvc.core.record import Record
from chatsvc.core.state_rows import StatePage, StateRow
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import KINDS

REFUSED: Final = "refused"
"""In the content of messages that the store does not take."""

ANSWERING: Final = (
    "open",
    "ping",
    "identity",
    "watermark",
    "head",
    "channel_page",
    "user_page",
    "count_user",
    "user_records",
    "channel_records",
    "count_user_records",
    "conversations",
    "intervals",
    "get",
)
"""What does nothing but ask, or open."""

Swap = Callable[[], Awaitable[None]]


class Unsteady:
    """What befalls the store that is the other base of a class; this one comes first.

    ``unavailable``: it does not answer. ``partly``: it takes a part of the next batch, in any
    order, as a database without transactions does. ``answer_lost``: it sets the next watermark,
    and says that it did not. ``exchanges_left``: so many pages of the state it hands over or
    takes. ``between`` is called once, in the middle of the next batch, and ``before_mark`` once,
    before the next watermark. ``batches`` are those that were written.
    """

    def begin(self, dice: random.Random) -> None:
        """Have nothing written yet, and whatever befalls it to come.

        Args:
            dice: choose what it takes of a batch.
        """
        self.batches: list[tuple[Record, ...]] = []
        self._dice = dice
        self.make_steady()

    def make_steady(self) -> None:
        """Nothing befalls it from now on."""
        self.unavailable = self.partly = self.answer_lost = False
        self.exchanges_left: int | None = None
        self.between: Swap | None = None
        self.before_mark: Swap | None = None

    async def has_rows_above(self) -> bool:
        """Whether rows of the state are in it whose records are not, and which may be lost."""
        mark = await super().watermark()
        position = max(mark.position if mark is not None else 0, await super().head())
        after = ""
        while True:
            page = await super().state_page(after, 100)
            if any(row.rev > position + STEP for row in page.rows):
                return True
            after = page.after
            if not after:
                return False

    def _check(self) -> None:
        if self.unavailable:
            raise StoreUnavailable("unavailable")

    async def _once(self, name: str) -> None:
        swap: Swap | None = getattr(self, name)
        if swap is not None:
            setattr(self, name, None)
            await swap()

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
        fit = [one for one in records if REFUSED.encode() not in one.body]
        if self.partly:
            self.partly = False
            await super().write([one for one in fit if self._dice.random() < 0.5])
            raise StoreUnavailable("a part of it")
        rejections: list[Rejection] = []
        if self.between is not None:
            middle = len(fit) // 2
            rejections = await super().write(fit[:middle])
            await self._once("between")
            fit = fit[middle:]
        rejections = rejections + await super().write(fit)
        refused = [one for one in records if REFUSED.encode() in one.body]
        return rejections + [Rejection(one, "unfit", "the model says so") for one in refused]

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


def _answering(name: str) -> Callable[..., Awaitable[Any]]:
    async def ask(self: Unsteady, *args: Any, **options: Any) -> Any:
        self._check()
        return await getattr(super(Unsteady, self), name)(*args, **options)

    return ask


for _name in ANSWERING:
    setattr(Unsteady, _name, _answering(_name))


class UnsteadySqlite(Unsteady, SqliteStore):
    """An embedded store.

    Args:
        dice: choose what it takes of a batch.
    """

    def __init__(
        self,
        path: Path,
        dice: random.Random,
        *,
        kinds: Kinds = KINDS,
        projections: Projections = NO_PROJECTIONS,
    ) -> None:
        super().__init__(path, kinds=kinds, projections=projections)
        self.path = path
        self.begin(dice)


class UnsteadyMongo(Unsteady, MongoStore):
    """A store in MongoDB.

    Args:
        dice: choose what it takes of a batch.
    """

    def __init__(
        self, uri: str, db: str, dice: random.Random, *, kinds: Kinds, projections: Projections
    ) -> None:
        super().__init__(uri, db, "messages", kinds=kinds, projections=projections)
        self.begin(dice)
