"""A place for a store of each backend, and a store that is open there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chatsvc.core.projection import Projections
from chatsvc.storage.ports.message_store import MessageStore
from tests.contract.support.store_places import MemoryPlace, MongoPlace, Open, Place, SqlitePlace


@pytest.fixture(params=["sqlite", "mongo", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "data" / "store.db")
    if request.param == "memory":
        return MemoryPlace()
    return MongoPlace(request.getfixturevalue("mongo_uri"), request.getfixturevalue("mongo_db"))


@pytest.fixture
async def store(place: Place) -> AsyncIterator[MessageStore]:
    store = place.make()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def open_with(place: Place) -> AsyncIterator[Open]:
    """Opens another store over the same data."""
    async with AsyncExitStack() as stack:

        async def open_one(projections: Projections) -> MessageStore:
            store = place.make(projections)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield open_one
