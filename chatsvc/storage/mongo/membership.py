"""Members, channels and filters in MongoDB: not kept yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.membership import Interval
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.ports.membership import StatePage, StateReader, StateRow, StateWriter

_NOT_KEPT: Final = "the MongoDB store keeps no members yet"


class MongoMembership(MongoDatabase, StateReader, StateWriter):
    """Refuses what nothing asks for yet."""

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        raise StoreUnavailable(_NOT_KEPT)

    async def state_page(self, after: str, limit: int) -> StatePage:
        raise StoreUnavailable(_NOT_KEPT)

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        raise StoreUnavailable(_NOT_KEPT)
