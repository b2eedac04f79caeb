"""Where a listing's tail and store meet, and what moves while the store is read."""

from __future__ import annotations

import pytest

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import MAX_PAGE_BYTES
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.retention import Expiry
from testkit.memory_store import MemoryStore
from testkit.records import record
from tests.unit.support.history_worlds import Merged, Refilling, World, at

HALF_PAGE = MAX_PAGE_BYTES // 2


class Many(World):
    """The conversations of alice, each with one message."""

    @staticmethod
    def make(number: int) -> Record:
        return record(number, to=("alice", f"user{number}"))


def ids(conversations: list[Conversation]) -> list[int]:
    return [one.last_id for one in conversations]


def to_user(number: int, user: int, size: int = 1) -> Record:
    return record(number, "x" * size, to=("alice", f"user{user}"))


def over(stored: list[Record], tail: list[Record]) -> tuple[MemoryStore, History]:
    """A store, and a tail that begins where it ends."""
    store = MemoryStore()
    store.records = {one.id: one for one in stored}
    floor = stored[-1].id
    recent = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
    if tail:
        recent.extend(tail)
    return store, History(store, recent)


async def test_what_the_tail_has_from_the_first_on_is_listed_without_the_store() -> None:
    world = Many(0, 2, 3)
    world.store.away = True
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert (ids(page.conversations), page.has_more, page.complete) == (at(3, 2, 1), False, True)
    assert [one.participants for one in page.conversations] == [
        ("alice", "user3"),
        ("alice", "user2"),
        ("alice", "user1"),
    ]
    assert world.store.reads == 0


async def test_what_is_stored_is_listed_as_the_store_has_it() -> None:
    world = Many(2, 9, 9)
    del world.store.records[at(9)[0]]  # by an operator
    page = await world.history.conversations("alice", before=MAX_ID, limit=2)
    assert ids(page.conversations) == at(8, 7)


@pytest.mark.parametrize("limit", [1, 2])
async def test_without_the_store_as_many_are_listed_as_there_are_in_the_tail(limit: int) -> None:
    world = Many(7, 9, 9)
    world.store.away = True
    page = await world.history.conversations("alice", before=MAX_ID, limit=limit)
    assert ids(page.conversations) == at(9, 8)[:limit]
    assert (page.has_more, page.complete) == (True, False)


async def test_what_comes_while_the_store_fails_is_listed() -> None:
    world = Many(7, 8, 8)

    def fail() -> None:
        world.tail.extend([Many.make(9)])
        world.store.away = True

    world.store.before_read = fail
    page = await world.history.conversations("alice", before=MAX_ID, limit=5)
    assert (ids(page.conversations), page.complete) == (at(9, 8), False)


@pytest.mark.parametrize("size", [1, HALF_PAGE])
async def test_a_page_has_more_though_one_of_it_moves_to_the_first_page(size: int) -> None:
    stored = [to_user(number, number, size) for number in range(1, 7)]
    store, history = over(stored, [])
    first = await history.conversations("alice", before=MAX_ID, limit=2)
    before = ids(first.conversations)[-1]
    moves = next(number for number in range(6, 0, -1) if at(number)[0] < before)

    def speak() -> None:
        store.before_read = None
        history._tail.extend([to_user(9, moves)])

    store.before_read = speak
    found: list[int] = []
    while True:
        page = await history.conversations("alice", before=before, limit=2)
        found += ids(page.conversations)
        if not page.has_more:
            break
        before = found[-1]
    assert found == at(*range(moves - 1, 0, -1))


async def test_what_moves_to_just_the_bound_of_a_page_is_not_on_it() -> None:
    world = Many(9, 9, 9)

    def speak() -> None:
        world.store.before_read = None
        world.tail.extend([to_user(10, 8)])

    world.store.before_read = speak
    page = await world.history.conversations("alice", before=at(10)[0], limit=3)
    assert ids(page.conversations) == at(9, 7, 6)


async def test_a_message_larger_than_a_page_is_listed_and_not_more_than_there_is() -> None:
    _, history = over([to_user(1, 1, MAX_PAGE_BYTES + 1)], [])
    page = await history.conversations("alice", before=MAX_ID, limit=5)
    assert (ids(page.conversations), page.has_more) == (at(1), False)


async def test_large_ones_that_the_tail_lists_hide_none_behind_them() -> None:
    stored = [to_user(number, number, HALF_PAGE + 1) for number in (1, 2, 3)]
    _, history = over(stored, [to_user(4, 3)])
    page = await history.conversations("alice", before=MAX_ID, limit=5)
    assert (ids(page.conversations), page.has_more) == (at(4, 2), True)
    page = await history.conversations("alice", before=at(2)[0], limit=5)
    assert (ids(page.conversations), page.has_more) == (at(1), False)


async def test_large_ones_that_the_tail_lists_do_not_count() -> None:
    stored = [to_user(number, number, HALF_PAGE + 1) for number in (1, 2)]
    _, history = over(stored, [to_user(3, 2)])
    page = await history.conversations("alice", before=MAX_ID, limit=5)
    assert (ids(page.conversations), page.has_more) == (at(3, 1), False)


async def test_the_store_is_asked_for_no_more_than_a_page_and_one() -> None:
    store, history = over([to_user(number, number) for number in range(1, 10)], [])
    asked: list[int] = []
    whole = store.conversations

    async def conversations(user: str, *, before: int, limit: int) -> list[Conversation]:
        asked.append(limit)
        return await whole(user, before=before, limit=limit)

    store.conversations = conversations  # type: ignore[method-assign, assignment]
    page = await history.conversations("alice", before=MAX_ID, limit=2)
    assert (ids(page.conversations), page.has_more) == (at(9, 8), True)
    assert asked == [3]


async def test_what_lies_behind_the_oldest_kept_is_not_read() -> None:
    stored = [to_user(number, number) for number in range(1, 10)]
    store, history = over(stored, [to_user(10, 9)])
    history._listing._expiry = Expiry(1, lambda seconds: at(8)[0] - 1)
    page = await history.conversations("alice", before=MAX_ID, limit=1)
    assert (ids(page.conversations), page.has_more) == (at(10), True)
    store.reads = 0
    # Of the store's two, the tail has a newer message of the first; the second is the oldest.
    page = await history.conversations("alice", before=at(10)[0] + 1, limit=1)
    assert (ids(page.conversations), store.reads) == (at(10), 1)


async def test_the_message_at_the_base_itself_may_be_the_newer_one() -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return to_user(number, {6: 5}.get(number, number))

    world = Listed(0, 0, {6}, 6)
    page = await world.history.conversations("alice", before=at(7)[0], limit=2)
    assert ids(page.conversations) == at(6, 4)


@pytest.mark.parametrize(("stored", "complete"), [(4, False), (6, True)])
async def test_a_listing_is_settled_once_all_up_to_the_base_is_stored(
    stored: int, complete: bool
) -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return to_user(number, number)

    world = Listed(0, stored, {5}, 6)
    page = await world.history.conversations("alice", before=MAX_ID, limit=20)
    assert (ids(page.conversations), page.complete) == (at(*range(12, 0, -1)), complete)


async def test_what_the_log_lacked_is_settled_with_nothing_of_its_own_there() -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return to_user(number, number)

    world = Listed(0, 4, {5, 6}, 6)
    page = await world.history.conversations("alice", before=MAX_ID, limit=20)
    assert (ids(page.conversations), page.complete) == (at(*range(12, 0, -1)), True)


@pytest.mark.parametrize(("up_to", "is_touched"), [(at(9)[0] - 1, False), (at(9)[0], True)])
async def test_a_loss_is_named_from_the_last_of_the_page_on(up_to: int, is_touched: bool) -> None:
    world = Many(8, 8, 12)
    hole = (at(3)[0], up_to)
    world.tail.set_store_positions(stored=at(8)[0], base=0, hole=hole)
    page = await world.history.conversations("alice", before=MAX_ID, limit=4)
    assert (ids(page.conversations), page.has_more) == (at(12, 11, 10, 9), True)
    assert page.lost == (hole if is_touched else None)


async def test_a_loss_of_the_very_first_is_named() -> None:
    world = Refilling(8)
    world.tail.set_store_positions(stored=at(8)[0], base=0, hole=(0, 1))
    page = await world.history.conversations("bob", before=MAX_ID, limit=5)
    assert (page.lost, page.has_more) == ((0, 1), False)


async def test_what_lies_above_the_base_is_listed_without_the_store() -> None:
    class Listed(Merged):
        @staticmethod
        def make(number: int) -> Record:
            return to_user(number, number)

    world = Listed(0, 0, set(), 6)
    world.store.away = True
    page = await world.history.conversations("alice", before=MAX_ID, limit=6)
    assert ids(page.conversations) == at(*range(12, 6, -1))
    assert (page.has_more, page.complete, world.store.reads) == (True, True, 0)


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_conversation_whose_newest_message_became_a_dead_letter_is_listed(
    limit: int,
) -> None:
    """The tail still has that message, above the page; the store has the one before it."""
    world = Many(1, 3, 3)
    world.tail.extend([to_user(4, 1)])
    world.tail.advance(at(4)[0])
    found: list[int] = []
    before, has_more = MAX_ID, True
    while has_more:
        page = await world.history.conversations("alice", before=before, limit=limit)
        found += ids(page.conversations)
        before, has_more = found[-1], page.has_more
    assert found == at(3, 2, 1)
