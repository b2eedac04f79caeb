"""Pages, counts and lists without what the reader's filters hide."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.filters import Filters
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import BLOCK, LEFT, Filter, Interval
from chatsvc.core.page import Bounds, Entry, Page
from chatsvc.core.record import Record
from chatsvc.log.state import adopting
from chatsvc.log.tail import Tail
from chatsvc.storage.history import filtered
from chatsvc.storage.history.filtered import LOOKED_AT, IsHidden, page_without
from chatsvc.storage.history.history import History
from chatsvc.storage.history.memberships import ChannelIntervals, Memberships
from chatsvc.storage.history.pages import cut, entry_of
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, MESSAGES_ALONE, START, change, record
from tests.unit.support.history_worlds import at, ids

SENDERS = ("alice", "carol", "dave")


class Filtering(Memberships):
    """Has ``rows`` for bob; raises ``error`` if there is one."""

    def __init__(self) -> None:
        self.rows: Sequence[Filter] = ()
        self.error: Exception | None = None

    async def intervals(self, user: str) -> Sequence[Interval]:
        return ()

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        return ChannelIntervals(())

    async def filters(self, user: str) -> Filters:
        if self.error is not None:
            raise self.error
        return Filters(self.rows if user == "bob" else ())


class World:
    """Records of which the first ``evicted`` are in the store alone."""

    def __init__(self, everything: Sequence[Record], evicted: int = 0) -> None:
        self.store = MemoryStore(kinds=KINDS)
        for one in everything[:evicted]:
            held = self.store.records if KINDS.counts(one.kind) else self.store.disk.changes
            held[one.id] = one
        floor = everything[evicted - 1].id if evicted else 0
        self.tail = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
        self.tail.extend(everything[evicted:])
        self.filtering = Filtering()
        self.history = History(
            self.store,
            self.tail,
            kinds=KINDS,
            memberships=self.filtering,
            breaker_seconds=0.0,
        )


def made(dice: random.Random, number: int) -> Record:
    sender = dice.choice(SENDERS)
    people = ("bob", sender) if dice.random() < 0.6 else ("bob", *SENDERS)
    if dice.random() < 0.7:
        return record(number, to=people, sender=sender)
    return change(number, to=people, sender=sender)


def some_rows(dice: random.Random, count: int) -> list[Filter]:
    rows: list[Filter] = []
    for _ in range(dice.randrange(1, 4)):
        since = dice.randrange(count)
        until = dice.choice([0, dice.randrange(since, count + 1)])
        of = dice.choice(SENDERS)
        sort, about = (BLOCK, of) if dice.random() < 0.5 else (LEFT, ",".join(sorted(("bob", of))))
        rows.append(Filter("bob", sort, about, *at(since), at(until)[0] if until else 0))
    return rows


async def walked(read: Callable[[Bounds], object], bounds: Bounds) -> list[int]:
    """All pages one after another; none is empty, but the last."""
    found: list[int] = []
    while True:
        page = await read(bounds)  # type: ignore[misc]
        assert isinstance(page, Page)
        assert page.complete
        assert page.entries or not page.has_more
        if bounds.newest:
            found = ids(page.entries) + found
        else:
            found += ids(page.entries)
        if not page.has_more:
            return found
        if bounds.newest:
            bounds = bounds._replace(before=found[0])
        else:
            bounds = bounds._replace(after=found[-1])


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("looked_at", [1, 7, LOOKED_AT])
async def test_pages_have_everything_that_is_not_hidden(
    seed: int, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "LOOKED_AT", looked_at)
    monkeypatch.setattr(filtered, "_PART", 3)
    dice, count = random.Random(seed), 60
    everything = [made(dice, number) for number in range(1, count + 1)]
    world = World(everything, dice.choice([0, 20, 45, count]))
    rows = world.filtering.rows = some_rows(dice, count)
    filters, history = Filters(rows), world.history
    seen = [one for one in everything if not filters.hides(one, KINDS.is_blockable)]
    in_set = [one for one in everything if not filters.blocks(one, KINDS.is_blockable)]
    messages = [one.id for one in seen if KINDS.counts(one.kind)]
    for limit in (1, 4, 100):
        for newest in (True, False):
            bounds = Bounds(limit, newest=newest)
            assert await walked(lambda each: history.user_page("bob", each), bounds) == messages
            for channel in ("alice,bob", "alice,bob,carol,dave"):
                wanted = [
                    one.id for one in in_set if one.channel == channel and KINDS.counts(one.kind)
                ]
                found = await walked(
                    lambda each, of=channel: history.channel_page(of, each, reader="bob"),  # type: ignore[misc]
                    bounds,
                )
                assert found == wanted
        count_bounds = Bounds(limit, newest=False)
        counts = history.records.count_shown
        assert await history.records.count_user("bob", count_bounds) == min(limit, len(everything))
        assert await counts("bob", count_bounds) == min(limit, len(seen))
        assert await counts("bob", count_bounds, MESSAGES_ALONE) == min(limit, len(messages))
        assert await replayed(history, limit) == [one.id for one in seen]
    for one in everything:
        if KINDS.counts(one.kind):
            assert (await history.get(one.id, reader="bob") is not None) == (one in in_set)
            assert await history.get(one.id, reader="alice") is not None
    assert await history.records.count_user("dave", Bounds(100, newest=False)) == len(
        [one for one in everything if "dave" in one.audience]
    )


async def replayed(history: History, limit: int) -> list[int]:
    found: list[int] = []
    after, has_more = 0, True
    while has_more:
        page = await history.records.user_page("bob", Bounds(limit, after=after, newest=False))
        found += ids(page.entries)
        assert page.up_to > after or not page.has_more
        after, has_more = page.up_to, page.has_more
    return found


async def test_a_page_around_a_message_leaves_out_what_is_hidden() -> None:
    world = World([record(number, sender=("bob", "alice")[number % 2]) for number in range(1, 10)])
    world.filtering.rows = [Filter("bob", BLOCK, "alice", *at(3), *at(6))]
    page = await world.history.channel_around("alice,bob", at(5)[0], 4, reader="bob")
    assert ids(page.entries) == at(2, 4, 6, 7)
    page = await world.history.user_around("bob", at(5)[0], 4)
    assert ids(page.entries) == at(2, 4, 6, 7)


async def test_changes_of_one_conversation_leave_out_what_is_hidden() -> None:
    world = World([change(number, sender=("bob", "alice")[number % 2]) for number in range(1, 6)])
    world.filtering.rows = [Filter("bob", BLOCK, "alice", 0)]
    bounds = Bounds(10, newest=False)
    page = await world.history.records.channel_page("alice,bob", bounds, reader="bob")
    assert (ids(page.entries), page.has_more, page.up_to) == (at(2, 4), False, at(5)[0])
    page = await world.history.records.channel_page("alice,bob", bounds, reader="alice")
    assert ids(page.entries) == at(1, 2, 3, 4, 5)


async def test_one_page_looks_at_a_bounded_number_of_records() -> None:
    world = World([record(n, sender="bob" if n == 1 else "alice") for n in range(1, 3000)])
    world.filtering.rows = [Filter("bob", BLOCK, "alice", 0)]
    page = await world.history.user_page("bob", Bounds(2))
    assert (ids(page.entries), page.has_more) == (at(1), False), "it looks on until it has one"
    late = World([record(n, sender="bob" if n == 2999 else "alice") for n in range(1, 3000)])
    late.filtering.rows = [Filter("bob", BLOCK, "alice", 0)]
    page = await late.history.user_page("bob", Bounds(2))
    assert (ids(page.entries), page.has_more) == (at(2999), True)
    replay = await late.history.records.user_page("bob", Bounds(2, newest=False))
    assert (replay.entries, replay.has_more) == ([], True)
    assert START < replay.up_to < at(2999)[0]


@pytest.mark.parametrize("newest", [True, False])
async def test_a_store_that_is_away_behind_what_is_shown(newest: bool) -> None:
    people = ("alice", "bob", "carol")
    sent = [record(n, to=people, sender=("alice", "carol")[n % 2]) for n in range(1, 11)]
    world = World(sent, evicted=5)
    world.filtering.rows = [Filter("bob", BLOCK, "alice", 0)]
    world.store.away = True
    bounds = Bounds(5, newest=newest)
    if not newest:
        with pytest.raises(StoreUnavailable):
            await world.history.user_page("bob", bounds)
        return
    page = await world.history.user_page("bob", bounds)
    assert (ids(page.entries), page.has_more, page.complete) == (at(7, 9), True, False)
    world.filtering.rows = [Filter("bob", BLOCK, one, 0) for one in ("alice", "carol")]
    with pytest.raises(StoreUnavailable):
        await world.history.user_page("bob", bounds)


async def test_what_is_read_before_the_store_fails_is_a_page() -> None:
    entries = [entry_of(record(number)) for number in range(1, 11)]
    calls: list[Bounds] = []

    async def read(bounds: Bounds) -> Page:
        calls.append(bounds)
        if len(calls) == 2:
            raise StoreUnavailable("away")
        return cut(entries[-bounds.limit - 1 :], bounds)

    def is_odd(entry: object) -> bool:
        assert isinstance(entry, Entry)
        return bool((entry.id - START) // (at(1)[0] - START) % 2)

    async def hidden() -> IsHidden:
        return is_odd

    page = await page_without(hidden, read, Bounds(3))
    assert (ids(page.entries), page.has_more, page.complete) == (at(8, 10), True, False)
    calls.clear()
    with pytest.raises(StoreUnavailable):
        await page_without(hidden, read, Bounds(3, newest=False))


# --- lists of conversations


async def listed(world: World, limit: int = 100) -> list[tuple[str, int]]:
    """The conversations, and which message of each is shown."""
    found: list[tuple[str, int]] = []
    before = MAX_ID
    while True:
        page = await world.history.conversations("bob", before=before, limit=limit)
        assert page.complete
        assert page.conversations or not page.has_more, "a client would ask for ever"
        for one in page.conversations:
            shown = next(n for n in range(1, 99) if b'"message %d"' % n in one.last_message)
            found.append((one.channel, shown))
        if not page.has_more:
            return found
        before = page.conversations[-1].last_id


TALK = [
    record(1, to=("bob", "erin"), sender="bob"),
    record(2, to=("alice", "bob")),
    record(3, to=("alice", "bob", "carol"), sender="carol"),
    record(4, to=("bob", "carol"), sender="carol"),
    record(5, to=("alice", "bob", "carol"), sender="alice"),
    record(6, to=("alice", "bob", "dave"), sender="alice"),
]


@pytest.mark.parametrize("evicted", [0, 3, 6])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_a_list_shows_the_newest_message_that_is_not_hidden(evicted: int, limit: int) -> None:
    world = World(TALK, evicted)
    everything = [
        ("alice,bob,dave", 6), ("alice,bob,carol", 5), ("bob,carol", 4), ("alice,bob", 2),
        ("bob,erin", 1),
    ]  # fmt: skip
    assert await listed(world, limit) == everything
    world.filtering.rows = [Filter("bob", BLOCK, "alice", 0)]
    # Where its newest message has put it; what of nothing is shown is not listed.
    shown = [("alice,bob,carol", 3), ("bob,carol", 4), ("bob,erin", 1)]
    assert await listed(world, limit) == shown
    world.filtering.rows = [Filter("bob", LEFT, "bob,carol", *at(4))]
    assert await listed(world, limit) == [one for one in everything if one[0] != "bob,carol"]
    world.filtering.rows = [Filter("bob", LEFT, "bob,carol", *at(4), *at(5))]
    assert await listed(world, limit) == everything


# --- while the log's state is read from the store


async def test_sets_go_on_while_the_state_is_adopted() -> None:
    world = World([record(1)])
    world.filtering.error = adopting()
    page = await world.history.channel_page("alice,bob", Bounds(5), reader="bob")
    assert ids(page.entries) == at(1)
    assert await world.history.get(at(1)[0], reader="bob") is not None
    for read in (
        lambda: world.history.user_page("bob", Bounds(5)),
        lambda: world.history.conversations("bob", before=MAX_ID, limit=5),
        lambda: world.history.channel_page(",g:x", Bounds(5), reader="bob"),
    ):
        with pytest.raises(LogUnavailable, match="being read"):
            await read()  # type: ignore[no-untyped-call]


async def test_filters_that_cannot_be_read_are_not_taken_for_none() -> None:
    world = World([record(1)])
    world.filtering.error = LogUnavailable("the log's state is damaged")
    with pytest.raises(LogUnavailable):
        await world.history.channel_page("alice,bob", Bounds(5), reader="bob")
    with pytest.raises(LogUnavailable):
        await world.history.get(at(1)[0], reader="bob")
