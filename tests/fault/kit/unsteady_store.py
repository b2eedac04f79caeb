"""A store that goes away when told to, and fails by halves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import KINDS

REFUSED = "refused"
"""In the content of messages that the store does not take."""


class Unsteady(SqliteStore):
    """Goes away when told to; may take a part of a batch, in any order, or lose an answer.

    Some messages it never takes.
    """

    def __init__(self, path: Path, dice: random.Random) -> None:
        super().__init__(path, kinds=KINDS)
        self.path = path
        self.away = False
        self.partly = False
        self.answer_lost = False
        self._dice = dice

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("away")

    async def identity(self) -> str:
        self._check()
        return await super().identity()

    async def watermark(self) -> Mark | None:
        self._check()
        return await super().watermark()

    async def head(self) -> int:
        self._check()
        return await super().head()

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._check()
        done = await super().set_watermark(expected, new)
        if self.answer_lost:
            self.answer_lost = False
            raise StoreUnavailable("the answer was lost")
        return done

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._check()
        fit = [one for one in records if REFUSED.encode() not in one.body]
        if self.partly:
            self.partly = False
            await super().write([one for one in fit if self._dice.random() < 0.5])
            raise StoreUnavailable("a part of it")
        rejections = await super().write(fit)
        refused = [one for one in records if one not in fit]
        return rejections + [Rejection(one, "unfit", "the model says so") for one in refused]

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().channel_page(channel, bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().user_page(user, bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        self._check()
        return await super().count_user(user, bounds)

    async def user_records(self, user: str, bounds: Bounds) -> list[Entry]:
        self._check()
        return await super().user_records(user, bounds)

    async def channel_records(self, channel: str, bounds: Bounds, *, reader: str) -> list[Entry]:
        self._check()
        return await super().channel_records(channel, bounds, reader=reader)

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        self._check()
        return await super().count_user_records(user, bounds)

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = 1 << 20
    ) -> list[Conversation]:
        self._check()
        return await super().conversations(user, before=before, limit=limit, max_bytes=max_bytes)

    async def get(self, message_id: int) -> Entry | None:
        self._check()
        return await super().get(message_id)

    async def open(self) -> None:
        self._check()
        await super().open()
