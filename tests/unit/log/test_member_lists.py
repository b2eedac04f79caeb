"""Records of groups and rooms in the tail: one entry each, whatever the number of members."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsvc.core.audience import names_readers
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.membership import Interval, is_member_channel
from chatsvc.core.page import NO_BYTE_BOUND, Bounds, take
from chatsvc.core.record import Record
from chatsvc.core.record_size import PLACE_BYTES, text_bytes
from chatsvc.log.backlog import LIST_BYTES, audience_bytes, lists_bytes
from chatsvc.log.tail import Tail
from testkit.groups import GROUP, group_draft, group_message
from testkit.records import START, record

ROOM = ",r:lobby"
CHANNELS = (GROUP, ROOM, ",g:other")
USERS = ("ada", "bob", "cleo", "dan", "eve", "finn")
EVERYTHING = Bounds(1000)


def ids(records: Sequence[Record]) -> list[int]:
    return [(one.id - START) // STEP for one in records]


def at(number: int) -> int:
    return START + number * STEP


def interval(first: int, last: int | None = None, channel: str = GROUP) -> Interval:
    return Interval(channel, at(first), MAX_ID if last is None else at(last), 0)


def test_what_names_readers() -> None:
    assert names_readers(GROUP, ("bob",))
    assert names_readers(ROOM, USERS)
    for channel, audience in (
        (GROUP, ()),
        ("ada,bob", ("ada", "bob")),
        (",u:ada", ("ada",)),
        (",sha256:" + "0" * 64, USERS),
    ):
        assert not names_readers(channel, audience)


def test_a_record_for_members_costs_one_entry_and_its_channel_once() -> None:
    tail = Tail(recent_bytes=1 << 20)
    first, second = group_message(1), group_message(2)
    tail.extend([first])
    assert tail.unsaved_bytes == first.cost + LIST_BYTES + audience_bytes(GROUP, ())
    before = tail.unsaved_bytes
    tail.extend([second])
    assert tail.unsaved_bytes - before == second.cost
    assert second.channel is first.channel


def test_a_record_that_names_readers_costs_an_entry_and_a_name_for_each() -> None:
    few, more = group_message(1, to=USERS[:2]), group_message(1, to=USERS)
    each = PLACE_BYTES + 8  # an entry, and a place in the tuple
    assert more.cost - few.cost == sum(each + text_bytes(one) for one in USERS[2:])
    tail = Tail(recent_bytes=0)
    tail.extend([more])
    assert tail.unsaved_bytes == more.cost + len(USERS) * LIST_BYTES
    assert not tail.lists_channel(GROUP), "a first message to its members will begin its list"
    tail.advance(more.id)
    assert (tail.recent_bytes, len(tail._users._own)) == (0, 0)


def test_everybody_reads_what_the_intervals_and_names_give() -> None:
    tail = Tail(recent_bytes=1 << 20)
    tail.extend(
        [
            group_message(1),
            record(2, to=("ada", "bob")),
            group_message(3, to=("ada", "cleo")),
            group_message(4),
            record(5, to=USERS),
            group_message(6, channel=ROOM),
            group_message(7),
        ]
    )
    twice = [interval(1, 1), interval(4, 6), interval(2, channel=ROOM)]
    assert ids(tail.user_page("ada", EVERYTHING, twice)) == [1, 2, 3, 4, 5, 6]
    assert ids(tail.user_page("ada", EVERYTHING)) == [2, 3, 5]
    assert ids(tail.user_page("zoe", EVERYTHING, [interval(1)])) == [1, 4, 7]
    assert ids(tail.user_page("zoe", EVERYTHING)) == []
    assert ids(tail.channel_page(GROUP, EVERYTHING)) == [1, 4, 7]
    assert ids(tail.channel_records(GROUP, EVERYTHING, reader="ada")) == [1, 3, 4, 7]
    assert ids(tail.channel_records(GROUP, EVERYTHING, reader="bob")) == [1, 4, 7]
    assert ids(tail.channel_records(ROOM, EVERYTHING, reader="ada")) == [6]
    assert ids(tail.channel_records("ada,bob", EVERYTHING, reader="ada")) == [2]


class Model:
    """What a tail holds, as a list."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.held: list[Record] = []
        self.intervals = {user: self._some_intervals() for user in USERS}

    def _some_intervals(self) -> list[Interval]:
        found: list[Interval] = []
        for channel in CHANNELS:
            marks = sorted(self.dice.sample(range(1, 60), self.dice.randrange(5)))
            while marks:
                first, last = marks.pop(0), marks.pop(0) if marks else None
                found.append(interval(first, last, channel))
        return found

    def made(self, number: int) -> Record:
        dice = self.dice
        text = "x" * dice.choice([1, 30, 400])
        people = dice.sample(USERS, dice.randrange(1, len(USERS)))
        if dice.random() < 0.4:
            return record(number, text, to=people)
        named = people if dice.random() < 0.4 else ()
        return group_message(number, text, channel=dice.choice(CHANNELS), to=named)

    def of_user(self, user: str) -> list[Record]:
        def ours(one: Record) -> bool:
            if one.audience or not is_member_channel(one.channel):
                return user in one.audience
            own = [each for each in self.intervals[user] if each.channel == one.channel]
            return any(each.holds(one.id) for each in own)

        return [one for one in self.held if ours(one)]

    def of_channel(self, channel: str, reader: str = "") -> list[Record]:
        own = [one for one in self.held if one.channel == channel]
        return [
            one for one in own if not names_readers(channel, one.audience) or reader in one.audience
        ]


def cut(records: Sequence[Record], bounds: Bounds) -> list[Record]:
    inside = [one for one in records if bounds.after < one.id < bounds.before]
    ordered = inside[::-1] if bounds.newest else inside
    page = take(ordered[: bounds.limit], lambda one: len(one.body), bounds.max_bytes)
    return page[::-1] if bounds.newest else page


def some_bounds(dice: random.Random) -> Bounds:
    return Bounds(
        dice.choice([1, 2, 3, 5, 50]),
        at(dice.randrange(60)) if dice.random() < 0.5 else 0,
        at(dice.randrange(70)) if dice.random() < 0.5 else MAX_ID,
        dice.random() < 0.5,
        dice.choice([1, 600, 2000, NO_BYTE_BOUND]),
    )


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), recent=st.sampled_from([0, 3000, 1 << 20]))
def test_pages_and_costs_are_those_of_a_list_of_records(seed: int, recent: int) -> None:
    dice = random.Random(seed)
    model, tail = Model(dice), Tail(recent_bytes=recent)
    number = 0
    while number < 50:
        new = [model.made(number + step) for step in range(1, dice.randrange(2, 8))]
        number += len(new)
        tail.extend(new)
        model.held += new
        if dice.random() < 0.4:
            tail.advance(at(dice.randrange(number + 1)))
        if dice.random() < 0.3:
            gone = dice.choice(model.held)
            tail.drop(gone.id)
            model.held.remove(gone)
        model.held = [one for one in model.held if one.id > tail.floor]
        check(model, tail)
    tail.advance(tail.head)
    fresh = Tail(recent_bytes=1 << 30)
    fresh.extend(tail.page(EVERYTHING))
    assert tail.recent_bytes == fresh.unsaved_bytes
    for one in tail.page(EVERYTHING):
        tail.drop(one.id)
    assert (tail.recent_bytes, tail.unsaved_bytes, tail.backlog.total) == (0, 0, 0)
    assert (tail._channels, tail._users._own, tail._users._noted) == ({}, {}, {})


def check(model: Model, tail: Tail) -> None:
    bounds = some_bounds(model.dice)
    for user in model.dice.sample(USERS, 2):
        found = tail.user_page(user, bounds, model.intervals[user])
        assert found == cut(model.of_user(user), bounds)
    for channel in CHANNELS:
        assert tail.channel_page(channel, bounds) == cut(model.of_channel(channel), bounds)
        reader = model.dice.choice(USERS)
        found = tail.channel_records(channel, bounds, reader=reader)
        assert found == cut(model.of_channel(channel, reader), bounds)


@pytest.mark.parametrize("to", [(), USERS[:2], USERS])
@pytest.mark.parametrize("listed", [False, True])
def test_a_draft_counts_for_at_least_what_its_record_takes(
    to: tuple[str, ...], listed: bool
) -> None:
    tail = Tail(recent_bytes=0)
    if listed:
        tail.extend([group_message(1)])
    before = tail.unsaved_bytes
    one = group_draft("x" * 100, to=to)
    tail.extend([group_message(2, "x" * 100, to=to)])
    taken = tail.unsaved_bytes - before
    assert taken <= one.cost + lists_bytes(one)
    assert taken >= one.cost
    assert lists_bytes(one) == (
        len(to) * LIST_BYTES if to else LIST_BYTES + audience_bytes(GROUP, ())
    )


@pytest.mark.parametrize("newest", [True, False])
def test_a_page_steps_through_as_many_records_as_it_has(newest: bool) -> None:
    """Not through those of a thousand channels."""
    tail = Tail(recent_bytes=1 << 30)
    channels = [f",g:{number}" for number in range(1000)]
    for turn in range(3):
        tail.extend(
            [group_message(1000 * turn + n, channel=one) for n, one in enumerate(channels, 1)]
        )
    steps = 0

    class Counting(list[Record]):
        def __getitem__(self, index: object) -> object:  # type: ignore[override]
            nonlocal steps
            steps += 1
            return super().__getitem__(index)  # type: ignore[index]

    for listed in tail._channels.values():
        listed.items = Counting(listed.items)
    intervals = [interval(1, channel=one) for one in channels]
    page = ids(tail.user_page("ada", Bounds(100, newest=newest), intervals))
    assert page == (list(range(2901, 3001)) if newest else list(range(1, 101)))
    looks = 4 * len(channels)  # whether it reaches into the range, and with what
    assert steps <= looks + 3 * 100
