"""How much both stores answer with where nobody says, and the lowest ids that they keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from tests.contract.test_store import MongoPlace, SqlitePlace
from tests.support.records import records


@pytest.fixture(params=["sqlite", "mongo"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MessageStore]:
    place: SqlitePlace | MongoPlace = SqlitePlace(tmp_path / "store.db")
    if request.param == "mongo":
        uri, db = request.getfixturevalue("mongo_uri"), request.getfixturevalue("mongo_db")
        place = MongoPlace(uri, db)
    store = place.make()
    await store.open()
    yield store
    await store.close()


async def test_a_purge_deletes_a_thousand_at_once(store: MessageStore) -> None:
    await store.write(records(1001))
    assert [await store.purge(MAX_ID) for _ in range(3)] == [1000, 1, 0]


async def test_a_hundred_dead_letters_are_listed_from_the_first(store: MessageStore) -> None:
    letters = [DeadLetter(number, "code", "reason", 1, b"?") for number in range(1, 102)]
    await store.dead_letters.put(letters)
    assert await store.dead_letters.list() == letters[:100]
    assert await store.dead_letters.list(after=100) == letters[100:]
    assert await store.dead_letters.list(after=1, limit=2) == letters[1:3]


async def test_one_dead_letter_among_its_neighbours(store: MessageStore) -> None:
    letters = [DeadLetter(number, "code", "reason", number, b"?") for number in (4, 5, 6, 8)]
    await store.dead_letters.put(letters)
    assert await store.dead_letters.get(5) == letters[1]
    assert await store.dead_letters.get(7) is None
