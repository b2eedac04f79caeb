"""Records of every kind, over store and tail."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.membership import Interval
from chatsvc.core.page import (
    MAX_PAGE_BYTES,
    NO_BYTE_BOUND,
    Bounds,
    Entry,
    RecordPage,
    body_bytes,
)
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history import records as module
from chatsvc.storage.history.history import History
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.memberships import StoredMemberships
from testkit.groups import GROUP, group_change, group_message
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, MESSAGES_ALONE, START, change, record
from tests.unit.support.fake_state import FakeState
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
    assert page.up_to == at(5)[0]


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
    assert await world.history.records.count_user("bob", Bounds(50), MESSAGES_ALONE) == len(
        messages
    )
    assert await world.history.get(at(2)[0]) is None
    assert await world.history.get(at(11)[0]) is None
    listed = await world.history.conversations("bob", before=1 << 62, limit=9)
    assert [one.last_id for one in listed.conversations] == [at(10)[0]]


async def test_a_page_of_few_kinds_names_what_is_lost_in_any_part_of_its_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PART", 3)
    world = World(12, 12, 12)
    hole = (at(1)[0], at(2)[0])
    world.tail.set_store_positions(stored=world.tail.stored, base=0, hole=hole)
    for kinds in (None, frozenset({"vote"}), frozenset({"edit"})):
        page = await world.records.user_page("bob", oldest(), kinds)
        assert page.lost == hole
        assert page.up_to == at(12)[0]


def of_changes(count: int, text: str = "x") -> tuple[MemoryStore, History]:
    """So many changes, in the store alone."""
    store = MemoryStore(kinds=KINDS)
    made = [change(n, "edit", text=text) for n in range(1, count + 1)]
    store.disk.changes = {one.id: one for one in made}
    last = made[-1].id
    tail = Tail(recent_bytes=0, watermark=last, floor=last)
    return store, History(store, tail, kinds=KINDS)


async def test_a_small_page_that_finds_nothing_reads_the_store_a_few_times() -> None:
    store, history = of_changes(2200)
    page = await history.records.user_page("bob", oldest(1), frozenset({"vote"}))
    assert (page.entries, page.has_more) == ([], True)
    assert page.up_to == at(module.LOOKED_AT)[0]
    assert store.reads < 12


async def test_a_count_of_some_kinds_is_bounded_in_records_and_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 50)
    store, history = of_changes(399, "x" * 16_000)
    largest = 0
    page_of = store._page

    async def watched(*args: Any, **options: Any) -> list[Entry]:
        nonlocal largest
        found = await page_of(*args, **options)
        largest = max(largest, body_bytes(found))
        return found

    store._page = watched  # type: ignore[method-assign]
    bounds = oldest(1000, max_bytes=NO_BYTE_BOUND)
    assert await history.records.count_user("bob", bounds, frozenset({"vote"})) == 0
    assert largest <= MAX_PAGE_BYTES + 2 * 16_100
    bounds = bounds._replace(limit=100)
    counted = await history.records.count_user("bob", bounds, frozenset({"vote"}))
    assert counted == 100, "more than 200 that were looked at count as too many"


@pytest.mark.parametrize("in_tail", [True, False], ids=["tail", "store"])
async def test_the_participants_of_a_conversation_of_changes_are_known(in_tail: bool) -> None:
    people = tuple(f"{name}{'x' * 60}" for name in "abcde")
    made = change(1, "edit", to=people)
    assert made.channel.startswith(",sha256:")
    store = MemoryStore(kinds=KINDS)
    tail = Tail(recent_bytes=1 << 20)
    if in_tail:
        tail.extend([made])
    else:
        store.disk.changes[made.id] = made
        tail = Tail(recent_bytes=0, watermark=made.id, floor=made.id)
    history = History(store, tail, kinds=KINDS)
    assert await history.participants(people[0], made.channel) == people
    assert await history.participants("mallory", made.channel) is None


async def test_a_record_that_names_people_is_read_by_them_alone() -> None:
    store = MemoryStore(kinds=KINDS)
    written = [group_message(1), group_change(2, to=("bob", "carol")), group_change(3)]
    assert await store.write(written) == []
    last = written[-1].id
    tail = Tail(recent_bytes=1 << 30, watermark=last, floor=last)
    state = FakeState()
    for user in ("alice", "bob"):
        state.of_user[user] = [Interval(GROUP, written[0].id, MAX_ID, 0)]
    memberships = StoredMemberships(state, tail, store, StoreAccess(1.0, 3))
    reading = History(store, tail, kinds=KINDS, memberships=memberships)
    for reader, expected in (("alice", written[::2]), ("bob", written)):
        page = await reading.records.channel_page(GROUP, oldest(), reader=reader)
        assert ids(page.entries) == [one.id for one in expected]
