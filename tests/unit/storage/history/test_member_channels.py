"""What a reader sees of groups and rooms, case by case."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Interval
from chatsvc.core.page import Bounds, Page
from chatsvc.core.record import Record
from chatsvc.log.tail import Tail
from chatsvc.storage.history.history import History
from chatsvc.storage.history.memberships import NO_MEMBERSHIPS, ChannelIntervals, Memberships
from chatsvc.storage.history.ranges import IdRange, Shown, page_within, visible_ranges
from testkit.groups import GROUP, group_change, group_message
from testkit.records import KINDS, MESSAGES_ALONE, record
from tests.unit.support.history_worlds import ids
from tests.unit.support.member_world import MemberStore, TrueMemberships, Truth, at


def interval(first: int, last: int = 0, *, visible: int = 0, channel: str = GROUP) -> Interval:
    """By numbers of records; ``last`` 0: it goes on, ``visible`` 0: from the first on."""
    return Interval(channel, at(first), at(last) if last else MAX_ID, at(visible) if visible else 0)


class World:
    """A group of ten messages of which the first ``evicted`` are in the store alone."""

    def __init__(self, evicted: int = 5, *, made: Sequence[Record] = ()) -> None:
        self.truth = Truth()
        everything = list(made) or [group_message(number) for number in range(1, 11)]
        self.truth.records = everything
        self.store = MemberStore(self.truth)
        for one in everything[:evicted]:
            self.store.keep(one)
        floor = at(evicted) if evicted else 0
        self.tail = Tail(recent_bytes=1 << 30, watermark=floor, floor=floor)
        self.tail.extend(everything[evicted:])
        self.memberships = TrueMemberships(self.truth, self.tail)
        self.history = History(
            self.store, self.tail, kinds=KINDS, memberships=self.memberships, breaker_seconds=0.0
        )

    def joins(self, user: str, *intervals: Interval) -> None:
        self.truth.intervals = [one for one in self.truth.intervals if one[0] != user]
        self.truth.intervals += [(user, one) for one in intervals]

    async def numbers(self, user: str, bounds: Bounds) -> list[int]:
        page = await self.history.channel_page(GROUP, bounds, reader=user)
        return numbers(page)


def numbers(page: Page) -> list[int]:
    return [(one - at(0)) // (at(1) - at(0)) for one in ids(page.entries)]


EVERYTHING = Bounds(100)


@pytest.mark.parametrize(
    ("intervals", "shown"),
    [
        ([interval(4)], range(4, 11)),
        ([interval(4, visible=2)], range(2, 11)),
        ([interval(4, visible=6)], range(6, 11)),
        ([interval(4, 7)], range(4, 8)),
        ([interval(1, 2), interval(5, 6), interval(9)], [1, 2, 5, 6, 9, 10]),
        ([interval(1, 4), interval(8, visible=3)], range(1, 11)),
        ([interval(4, 5, visible=7)], []),
        ([], []),
    ],
)
@pytest.mark.parametrize("evicted", [0, 5, 10])
async def test_pages_show_the_union_of_a_readers_intervals(
    intervals: list[Interval], shown: Sequence[int], evicted: int
) -> None:
    world = World(evicted)
    world.joins("ada", *intervals)
    assert await world.numbers("ada", EVERYTHING) == list(shown)
    assert await world.numbers("ada", EVERYTHING._replace(newest=False)) == list(shown)
    read: list[int] = []
    bounds = Bounds(2)
    while True:
        page = await world.history.channel_page(GROUP, bounds, reader="ada")
        read = numbers(page) + read
        if not page.has_more:
            break
        bounds = bounds._replace(before=page.entries[0].id)
    assert read == list(shown)
    for number in range(1, 11):
        found = await world.history.get(at(number), reader="ada")
        assert (found is not None) == (number in shown)
    may = await world.history.participants("ada", GROUP)
    assert may == (() if intervals else None)
    assert await world.numbers("eve", EVERYTHING) == []
    assert await world.history.participants("eve", GROUP) is None


def test_ranges_that_touch_are_one() -> None:
    found = [interval(1, 3), interval(4, 5), interval(9, visible=6)]
    assert visible_ranges(found, at(12)) == [
        IdRange(at(1), at(3)),
        IdRange(at(4), at(5)),
        IdRange(at(6), at(12)),
    ]
    beside = [Interval(GROUP, 5, 9, 0), Interval(GROUP, 10, 12, 0), Interval(GROUP, 14, MAX_ID, 0)]
    assert visible_ranges(beside, 20) == [IdRange(5, 12), IdRange(14, 20)]
    assert visible_ranges(beside, 13) == [IdRange(5, 12)]
    assert visible_ranges([], 20) == []


async def test_what_was_said_after_a_reader_left_is_not_shown_though_the_page_began_before() -> (
    None
):
    world = World()
    world.joins("ada", interval(1, 2), interval(4))

    def leave_and_speak() -> None:
        world.store.before_read = None
        world.joins("ada", interval(1, 2), interval(4, 11))
        made = [group_change(11), group_message(12)]
        world.truth.records += made
        world.tail.extend(made)

    world.store.before_read = leave_and_speak
    oldest = EVERYTHING._replace(newest=False)
    assert await world.numbers("ada", oldest) == [1, 2, *range(4, 11)]
    assert await world.numbers("ada", oldest) == [1, 2, *range(4, 11)], "nor later"


async def test_changes_of_a_group_end_where_memberships_were_known() -> None:
    world = World(0)
    world.joins("ada", interval(1, 8))

    def join_and_speak() -> None:
        world.joins("ada", interval(1, 8), interval(11))
        made = [group_message(11), group_message(12)]
        world.truth.records += made
        world.tail.extend(made)

    # At the next turn of the loop, which a page of some kinds takes before it looks.
    world.memberships.meanwhile = lambda: loop.call_soon(join_and_speak)
    loop = asyncio.get_running_loop()
    page = await world.history.records.channel_page(
        GROUP, Bounds(100, newest=False), frozenset({"message", "edit"}), reader="ada"
    )
    assert [one.id for one in page.entries] == [at(number) for number in range(1, 9)]
    assert (page.up_to, page.has_more) == (at(10), False)
    assert world.tail.head == at(12)


async def test_records_that_name_readers_are_in_changes_and_no_pages() -> None:
    made = [
        group_message(1),
        group_change(2, to=("ada", "bob")),
        group_change(3, to=("bob",)),
        group_message(4, to=("ada",)),
    ]
    for evicted in (0, 2, 4):
        world = World(evicted, made=made)
        world.joins("ada", interval(1))
        oldest = Bounds(100, newest=False)
        page = await world.history.records.channel_page(GROUP, oldest, reader="ada")
        assert [one.id for one in page.entries] == [at(1), at(2), at(4)]
        assert await world.numbers("ada", EVERYTHING) == [1]
        everywhere = await world.history.records.user_page("ada", oldest)
        assert everywhere.entries == page.entries
        assert (await world.history.records.user_page("bob", oldest)).entries[0].id == at(2)
        assert (await world.history.get(at(4), reader="ada")) is not None
        assert (await world.history.get(at(4), reader="bob")) is None


async def test_around_a_message_shows_what_pages_show() -> None:
    world = World()
    world.joins("ada", interval(1, 3), interval(7, 9))
    page = await world.history.channel_around(GROUP, at(5), 4, reader="ada")
    assert (numbers(page), page.has_more) == ([2, 3, 7, 8], True)
    page = await world.history.channel_around(GROUP, at(5), 4, reader="eve")
    assert (numbers(page), page.has_more) == ([], False)
    page = await world.history.user_around("ada", at(8), 4)
    assert numbers(page) == [3, 7, 8, 9]


async def test_with_the_store_away_the_newest_of_the_tail_are_shown() -> None:
    world = World()
    world.joins("ada", interval(1, 3), interval(7))
    world.store.away = True
    page = await world.history.channel_page(GROUP, EVERYTHING, reader="ada")
    assert (numbers(page), page.has_more, page.complete) == ([7, 8, 9, 10], True, False)
    with pytest.raises(StoreUnavailable):
        await world.history.channel_page(GROUP, EVERYTHING._replace(before=at(5)), reader="ada")
    with pytest.raises(StoreUnavailable):
        await world.history.channel_page(GROUP, EVERYTHING._replace(newest=False), reader="ada")


async def test_a_full_page_is_complete_whatever_the_next_range_lacks() -> None:
    async def read(bounds: Bounds) -> Page:
        if bounds.before > at(5):
            found, more = [one for one in made if bounds.after < one.id < bounds.before], False
            return Page(found[-bounds.limit :], more, complete=True)
        return Page([], has_more=bounds.limit == 0, complete=False, lost=(1, 2))

    world = World(0)
    world.joins("ada", interval(1))
    made = (await world.history.channel_page(GROUP, EVERYTHING, reader="ada")).entries
    shown = Shown([IdRange(at(1), at(3)), IdRange(at(8), at(9))])
    page = await page_within(shown, read, Bounds(2))
    assert (numbers(page), page.has_more, page.complete, page.lost) == ([8, 9], True, True, None)
    page = await page_within(shown, read, Bounds(3))
    assert (numbers(page), page.has_more, page.complete, page.lost) == (
        [8, 9],
        False,
        False,
        (1, 2),
    )


async def test_nothing_is_complete_where_it_is_not_known_what_is_shown() -> None:
    async def read(bounds: Bounds) -> Page:
        found = [one for one in made if bounds.after < one.id < bounds.before]
        return Page(found[-bounds.limit :], len(found) > bounds.limit, complete=True)

    world = World(0)
    world.joins("ada", interval(1))
    made = (await world.history.channel_page(GROUP, EVERYTHING, reader="ada")).entries
    shown = Shown([IdRange(at(7), at(9))], unknown=(at(2), at(5)))
    page = await page_within(shown, read, EVERYTHING)
    assert (numbers(page), page.has_more, page.complete) == ([7, 8, 9], True, False)
    page = await page_within(shown, read, Bounds(2))
    assert (numbers(page), page.has_more, page.complete) == ([8, 9], True, True)
    page = await page_within(shown, read, EVERYTHING._replace(after=at(5), newest=False))
    assert (numbers(page), page.has_more, page.complete) == ([7, 8, 9], False, True)
    for bounds in (EVERYTHING._replace(newest=False), EVERYTHING._replace(before=at(6))):
        with pytest.raises(StoreUnavailable):
            await page_within(shown, read, bounds)
    assert [shown.holds(at(number)) for number in (2, 6, 7)] == [False, False, True]
    with pytest.raises(StoreUnavailable):
        shown.holds(at(3))


async def test_a_page_over_ranges_is_bounded_in_bytes() -> None:
    world = World()
    world.joins("ada", interval(1, 2), interval(5, 6), interval(9))
    size = len(group_message(1).body)
    for most, shown in ((size, [10]), (2 * size + 1, [9, 10]), (3 * size + 1, [6, 9, 10])):
        page = await world.history.channel_page(GROUP, Bounds(9, max_bytes=most), reader="ada")
        assert (numbers(page), page.has_more) == (shown, True)
    oldest = Bounds(9, newest=False, max_bytes=3 * size)
    page = await world.history.channel_page(GROUP, oldest, reader="ada")
    assert (numbers(page), page.has_more) == ([1, 2, 5], True)


async def test_groups_are_listed_by_what_their_members_are_shown() -> None:
    made = [
        group_message(1),
        record(2, to=("ada", "bob")),
        group_message(3, channel=",g:other"),
        group_message(4),
        group_change(5),
        group_message(6, to=("ada",)),
    ]
    for evicted in (0, 3, 6):
        world = World(evicted, made=made)
        world.joins("ada", interval(1), interval(3, channel=",g:other"))
        world.joins("bob", interval(1, 2))
        world.joins("cleo", interval(1, visible=3), interval(2, visible=4, channel=",g:other"))
        world.joins("dan", interval(5))

        async def listed(user: str, of: World = world) -> list[tuple[str, int, int]]:
            page = await of.history.conversations(user, before=MAX_ID, limit=10)
            return [
                (one.channel, (one.last_id - at(0)) // (at(1) - at(0)), len(one.participants))
                for one in page.conversations
            ]

        other = (",g:other", 3, 0)
        assert await listed("ada") == [(GROUP, 4, 0), other, ("ada,bob", 2, 2)]
        assert await listed("bob") == [("ada,bob", 2, 2), (GROUP, 1, 0)]
        assert await listed("cleo") == [(GROUP, 4, 0)]
        assert await listed("dan") == [], "nothing was said since"


async def test_a_later_message_of_the_store_counts_only_where_it_is_shown() -> None:
    """Up to the base the store may have what the log does not know."""
    for intervals, newest in (
        ([interval(1)], 4),
        ([interval(1, 3)], 2),
        ([interval(1, 3), interval(4)], 4),
        ([interval(1, 3), interval(4, visible=6)], 2),
    ):
        world = World(0, made=[group_message(1), group_message(2)])
        stored = group_message(4)
        world.store.keep(stored)
        world.tail.set_store_positions(stored=0, base=at(5), hole=None)
        world.truth.records.append(stored)
        world.joins("ada", *intervals)
        page = await world.history.conversations("ada", before=MAX_ID, limit=5)
        assert [one.last_id for one in page.conversations] == [at(newest)]


async def test_a_message_of_others_and_one_that_is_not_there_are_looked_for_alike() -> None:
    world = World(made=[*(group_message(n) for n in range(1, 10)), record(10, to=("bob", "cleo"))])
    world.joins("bob", interval(1))
    for number in (2, 8, 77):
        world.memberships.asked = []
        assert await world.history.get(at(number), reader="ada") is None
        assert len(world.memberships.asked) == 1
        assert world.memberships.asked[0][0] == "ada"
    world.memberships.asked = []
    assert await world.history.get(at(10), reader="bob") is not None
    assert world.memberships.asked == [], "one's own needs no look"


class Unreadable(Memberships):
    """A log whose rows cannot be read."""

    async def intervals(self, user: str) -> Sequence[Interval]:
        raise LogUnavailable("its rows cannot be read")

    async def intervals_in(self, user: str, channel: str) -> ChannelIntervals:
        raise LogUnavailable("its rows cannot be read")


async def test_where_memberships_cannot_be_read_nothing_is_answered() -> None:
    world = World()
    history = History(world.store, world.tail, kinds=KINDS, memberships=Unreadable())
    for call in (
        lambda: history.user_page("ada", EVERYTHING),
        lambda: history.channel_page(GROUP, EVERYTHING, reader="ada"),
        lambda: history.user_around("ada", at(3), 5),
        lambda: history.records.count_user("ada", EVERYTHING, MESSAGES_ALONE),
        lambda: history.conversations("ada", before=MAX_ID, limit=5),
        lambda: history.participants("ada", GROUP),
        lambda: history.get(at(3), reader="ada"),
        lambda: history.records.user_page("ada", EVERYTHING._replace(newest=False)),
    ):
        with pytest.raises(LogUnavailable):
            await call()


async def test_without_groups_nobody_is_in_one() -> None:
    world = World()
    history = History(world.store, world.tail, kinds=KINDS)
    assert await NO_MEMBERSHIPS.intervals("ada") == ()
    assert await history.participants("ada", GROUP) is None
    assert ids((await history.user_page("ada", EVERYTHING)).entries) == []
    assert await history.get(at(3), reader="ada") is None
