"""Conversations are listed once each, wherever their messages lie."""

from __future__ import annotations

import pytest

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.retention import Expiry
from testkit.memory_store import MemoryStore
from testkit.records import START, record
from tests.unit.support.history_worlds import World, at


@pytest.mark.parametrize("evicted", [0, 5, 9])
async def test_a_listing_stays_within_the_bytes_of_a_page(evicted: int) -> None:
    world = World.of_large(evicted, 9, other="u{}")
    read: list[int] = []
    before = MAX_ID
    while True:
        page = await world.history.conversations("alice", before=before, limit=1000)
        read += [one.last_id for one in page.conversations]
        assert len(page.conversations) == 3
        if not page.has_more:
            break
        before = read[-1]
    assert read == at(*range(9, 0, -1))


class Many(World):
    """The conversations of alice: with user1, user2 and user3 in turn."""

    @staticmethod
    def make(number: int) -> Record:
        return record(number, to=("alice", f"user{number % 3}"))


@pytest.mark.parametrize(
    ("evicted", "stored"), [(0, 0), (0, 4), (0, 9), (2, 2), (3, 5), (9, 9), (8, 9)]
)
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_conversations_page_over_every_seam(evicted: int, stored: int, limit: int) -> None:
    world = Many(evicted, stored, 9)
    found: list[tuple[str, int]] = []
    before = MAX_ID
    for _ in range(10):
        page = await world.history.conversations("alice", before=before, limit=limit)
        assert page.complete
        found += [(one.channel, one.last_id) for one in page.conversations]
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    assert found == [
        ("alice,user0", START + 9 * STEP),
        ("alice,user2", START + 8 * STEP),
        ("alice,user1", START + 7 * STEP),
    ]


async def test_conversations_without_the_store() -> None:
    world = Many(evicted=7, stored=8, accepted=9)
    world.store.away = True
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [one.last_id for one in page.conversations] == at(9, 8)
    assert (page.has_more, page.complete) == (True, False)


async def test_a_conversation_that_moves_while_the_store_is_read_is_seen_once() -> None:
    world = Many(evicted=9, stored=9, accepted=9)

    def speak() -> None:
        world.store.before_read = None
        fresh = Many.make(10)
        world.tail.extend([fresh])
        world.store.records[fresh.id] = fresh
        world.tail.advance(fresh.id)

    world.store.before_read = speak
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [(one.channel, one.last_id) for one in page.conversations] == [
        ("alice,user1", START + 10 * STEP),
        ("alice,user0", START + 9 * STEP),
        ("alice,user2", START + 8 * STEP),
    ]


async def test_a_conversation_that_a_torn_listing_missed_comes_from_the_tail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Many(evicted=9, stored=9, accepted=9)
    whole = world.store.conversations

    async def torn(user: str, *, before: int, limit: int) -> list[Conversation]:
        # user1's moved to the top of the index after the walk had passed there.
        found = await whole(user, before=before, limit=limit)
        world.tail.extend([Many.make(10)])
        return [one for one in found if one.channel != "alice,user1"]

    monkeypatch.setattr(world.store, "conversations", torn)
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert [one.last_id for one in page.conversations] == at(10, 9, 8)


@pytest.mark.parametrize("expired", range(8))
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_pages_of_conversations_end_with_many_that_are_expired_and_not_purged(
    expired: int, limit: int
) -> None:
    store = MemoryStore()
    everything = [record(number, to=("alice", f"u{number}")) for number in range(1, 9)]
    store.records = {one.id: one for one in everything}
    floor = everything[-1].id
    tail = Tail(recent_bytes=0, watermark=floor, floor=floor)
    expiry = Expiry(1, lambda seconds: START + expired * STEP if expired else 0)
    history = History(store, tail, expiry=expiry)
    found: list[int] = []
    before = MAX_ID
    for _ in range(9):
        page = await history.conversations("alice", before=before, limit=limit)
        found += [one.last_id for one in page.conversations]
        if not page.has_more:
            break
        before = page.conversations[-1].last_id
    else:
        pytest.fail("no end")
    assert found == at(*range(8, expired, -1))
