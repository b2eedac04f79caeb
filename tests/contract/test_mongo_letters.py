"""Dead letters in MongoDB whose bytes are kept in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.storage.mongo import dead_letters as mongo_dead_letters
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.records import START

PART = 100


@pytest.fixture
async def store(
    mongo_uri: str, mongo_db: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MongoStore]:
    monkeypatch.setattr(mongo_dead_letters, "_PART_BYTES", PART)
    store = MongoStore(mongo_uri, mongo_db, "messages")
    await store.open()
    yield store
    await store.close()


def of(size: int) -> DeadLetter:
    """A letter of so many bytes, no two parts of which are the same."""
    data = b"".join(b"%08d" % number for number in range(size // 8 + 1))[:size]
    return DeadLetter(START, "code", "reason", 1, data)


@pytest.mark.parametrize(
    ("size", "parts"), [(0, 0), (PART, 0), (PART + 1, 2), (2 * PART, 2), (12 * PART + 1, 13)]
)
async def test_what_a_document_can_hold_is_kept_in_one(
    store: MongoStore, other: Any, size: int, parts: int
) -> None:
    await store.dead_letters.put([of(size)])
    assert await store.dead_letters.get(START) == of(size)
    assert other.messages_dead_letters_parts.count_documents({}) == parts
    assert await store.dead_letters.drop([START]) == 1
    assert other.messages_dead_letters_parts.count_documents({}) == 0


@pytest.mark.parametrize("size", [3 * PART, 2 * PART, PART, 8])
async def test_a_smaller_letter_takes_the_place_of_a_larger(store: MongoStore, size: int) -> None:
    await store.dead_letters.put([of(3 * PART)])
    await store.dead_letters.put([of(size)])
    assert await store.dead_letters.get(START) == of(size)


@pytest.mark.parametrize("size", [4, 3 * PART])
async def test_a_letter_whose_bytes_are_not_all_there_is_not_answered(
    store: MongoStore, other: Any, size: int
) -> None:
    await store.dead_letters.put([of(size)])
    other.messages_dead_letters.update_one({}, {"$unset": {"data": ""}})
    other.messages_dead_letters_parts.delete_one({"_id": f"{format_id(START)}:001"})
    with pytest.raises(StoreUnavailable, match="are not all there"):
        await store.dead_letters.get(START)
