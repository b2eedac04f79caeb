"""A store that answers a turn or two of the loop later, and may be away."""

from __future__ import annotations

import asyncio

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.pages import entry_of


class SlowStore:
    """Holds everything up to the watermark; answers a turn or two of the loop later."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.records: list[Record] = []
        self.away = False
        self.fails_in = 0

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        await asyncio.sleep(0)
        self.fails_in -= 1
        if self.away or self.fails_in == 0:
            raise StoreUnavailable("away")
        watermark = self.tail.watermark
        found = [
            entry_of(known)
            for known in self.records
            if bounds.after < known.id < bounds.before
            and known.id <= watermark
            and user in known.audience
        ]
        await asyncio.sleep(0)
        return found[-bounds.limit :] if bounds.newest else found[: bounds.limit]

    user_records = user_page

    async def count_user_records(self, user: str, bounds: Bounds) -> int:
        return len(await self.user_page(user, bounds))
