"""Records of every kind, over store and tail."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import STEP
from chatsvc.core.page import Bounds, RecordPage
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history import records as module
from chatsvc.storage.history.history import History
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, START, change, record
from tests.unit.support.history_worlds import at, ids


def made(number: int) -> Record:
    """Every third is a message, the others an edit and a reaction."""
    if number % 3 == 1:
        return record(number)
    return change(number, "edit" if number % 3 == 2 else "reaction")


class World:
    """Records 1 to ``evicted`` are in the store alone, to ``stored`` in both, to ``count`` in
    the tail."""

    def __init__(self, evicted: int, stored: int, count: int) -> None:
        self.everything = [made(n) for n in range(1, count + 1)]
        self.store = MemoryStore(kinds=KINDS)
        for one in self.everything[:stored]:
            held = self.store.records if KINDS.counts(one.kind) else self.store.disk.changes
            held[one.id] = one
        floor = self.everything[evicted - 1].id if evicted else 0
        self.tail = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
        self.tail.extend(self.everything[evicted:])
        if stored:
            self.tail.advance(self.everything[stored - 1].id)
        self.history = History(self.store, self.tail, kinds=KINDS)
        self.records = self.history.records


def oldest(limit: int = 100, after: int = 0, **more: int) -> Bounds:
    return Bounds(limit, START + after * STEP, newest=False, **more)


PLACES = [(0, 0, 12), (0, 6, 12), (6, 6, 12), (5, 8, 12), (12, 12, 12)]
KINDS_ASKED = [
    None,
    frozenset({"message"}),
    frozenset({"edit"}),
    frozenset({"edit", "message"}),
    frozenset({"vote"}),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kinds", KINDS_ASKED)
@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("channel", [False, True])
async def test_pages_and_counts_are_those_of_the_kinds_asked_for(
    place: tuple[int, int, int], kinds: frozenset[str] | None, limit: int, channel: bool
) -> None:
    world = World(*place)
    wanted = [one.id for one in world.everything if kinds is None or one.kind in kinds]
    found: list[int] = []
    after = 0
    while True:
        bounds = Bounds(limit, after, newest=False)
        if channel:
            page = await world.records.channel_page("alice,bob", bounds, kinds, reader="bob")
        else:
            page = await world.records.user_page("bob", bounds, kinds)
        assert page.complete
        assert page.lost is None
        assert len(page.entries) <= limit
        found += ids(page.entries)
        if not page.has_more:
            break
        assert page.up_to > after, "a page that has more moves on"
        after = page.up_to
    assert found == wanted
    assert page.up_to == world.tail.head
    assert await world.records.count_user("bob", oldest(5), kinds) == min(5, len(wanted))
    assert await world.records.count_user("bob", oldest(), kinds) == len(wanted)
    above = [one for one in wanted if one > at(7)[0]]
    assert await world.records.count_user("bob", oldest(after=7), kinds) == len(above)


async def test_nothing_is_above_the_head() -> None:
    world = World(0, 6, 12)
    page = await world.records.user_page("bob", oldest(after=99))
    assert page == RecordPage([], START + 99 * STEP, False, True)
    page = await world.records.user_page("carol", oldest())
    assert page == RecordPage([], world.tail.head, False, True)
    bounds = oldest()._replace(before=START + 3 * STEP)
    page = await world.records.user_page("carol", bounds)
    assert page.up_to == START + 3 * STEP - 1, "the bound is not looked at"


async def test_a_page_of_few_kinds_looks_at_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 5)
    world = World(0, 0, 30)
    page = await world.records.user_page("bob", oldest(2), frozenset({"vote"}))
    assert page.entries == []
    assert page.has_more
    assert at(5)[0] <= page.up_to <= at(7)[0]


async def test_a_page_of_few_kinds_is_bounded_in_bytes() -> None:
    world = World(0, 0, 0)
    world.tail.extend([change(n, "edit", text="x" * 1000) for n in range(1, 10)])
    size = len(change(1, "edit", text="x" * 1000).body)
    bounds = oldest(max_bytes=3 * size)
    page = await world.records.user_page("bob", bounds, frozenset({"edit", "message"}))
    assert ids(page.entries) == at(1, 2, 3)
    assert page.has_more
    assert page.up_to == at(3)[0]


async def test_a_store_that_is_being_filled_makes_a_page_that_is_not_complete() -> None:
    world = World(6, 6, 12)
    world.tail.set_store_positions(stored=START + 2 * STEP, base=0, hole=None)
    page = await world.records.user_page("bob", oldest())
    assert not page.complete
    page = await world.records.user_page("bob", oldest(), frozenset({"edit"}))
    assert not page.complete


async def test_pages_of_messages_have_no_changes_of_the_tail_either() -> None:
    world = World(3, 6, 12)
    messages = [one.id for one in world.everything if one.kind == "message"]
    assert ids((await world.history.user_page("bob", Bounds(50))).entries) == messages
    assert ids((await world.history.channel_page("alice,bob", Bounds(2))).entries) == messages[-2:]
    assert await world.history.count_user("bob", Bounds(50)) == len(messages)
    assert await world.history.get(at(2)[0]) is None
    assert await world.history.get(at(11)[0]) is None
    listed = await world.history.conversations("bob", before=1 << 62, limit=9)
    assert [one.last_id for one in listed.conversations] == [at(10)[0]]
