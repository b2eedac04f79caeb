"""What is found through the intervals of members is what a plain search finds."""

from __future__ import annotations

import random
import sqlite3

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Channel, Member
from chatsvc.core.page import NO_BYTE_BOUND, Bounds
from chatsvc.core.record import Record
from chatsvc.storage.sqlite import listing, messages, records, walks, writes
from testkit.groups import at, group_change, group_message
from testkit.memory_state import MemoryState, is_for_reader
from testkit.records import KINDS, change, record

USERS = ("alice", "bob", "carol")
CHANNELS = (",g:one", ",g:two", ",r:three")
SETS = (("alice", "bob"), ("alice", "bob", "carol", "dave", "eve"))
LAST = 40


class Story:
    """Users come and go, in channels and beside sets; what is found of it, plainly."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.present: dict[tuple[str, str], Member] = {}
        self.records: list[Record] = []
        self.state = MemoryState()
        for number in range(1, LAST):
            one = self._made(number)
            self.records.append(one)
            self.state.fold([one])

    def _made(self, number: int) -> Record:
        dice = self.dice
        what = dice.choice(("set", "coming", "coming", "message", "message", "change", "named"))
        channel = dice.choice(CHANNELS)
        if what == "set":
            to = dice.choice(SETS)
            return record(number, to=to) if dice.random() < 0.7 else change(number, to=to)
        if what == "coming":
            return self._coming(number, channel)
        to = tuple(dice.sample(USERS, dice.randrange(1, 3))) if what == "named" else ()
        if what == "message" or dice.random() < 0.3:
            return group_message(number, channel=channel, to=to)
        kind, target = dice.choice((("edit", ""), ("read", "x"), ("read", "y")))
        return group_change(number, kind, channel=channel, to=to, target=target)

    def _coming(self, number: int, channel: str) -> Record:
        dice, user = self.dice, self.dice.choice(USERS)
        settings = Channel(1)
        held = self.present.pop((channel, user), None)
        if held is not None:
            one = Member(user, held.joined, at(number), visible_from=held.visible_from)
        else:
            seen = at(dice.randrange(1, number + 5)) if dice.random() < 0.3 else 0
            one = self.present[channel, user] = Member(user, at(number), visible_from=seen)
        if dice.random() < 0.05:
            settings = Channel(0, b"{}", at(number))
        return group_change(number, channel=channel, members=[one], settings=settings)

    def held(self) -> list[Record]:
        """Of ``read`` the newest of each channel and target are left."""
        newest = {(one.channel, one.target): one.id for one in self.records if one.kind == "read"}
        return [
            one
            for one in self.records
            if one.kind != "read" or newest[one.channel, one.target] == one.id
        ]

    def written(self, db: sqlite3.Connection) -> list[Record]:
        """What is left after all was written in parts of any order, some of it twice."""
        parts = [self.records[n : n + 7] for n in range(0, len(self.records), 7)]
        self.dice.shuffle(parts)
        for part in (*parts, *self.dice.sample(parts, 2)):
            assert writes.write_records(db, part, KINDS) == []
        return self.held()


def expected(own: list[int], bounds: Bounds) -> list[int]:
    inside = [one for one in own if bounds.after < one < bounds.before]
    return (inside[::-1] if bounds.newest else inside)[: bounds.limit]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_every_range_of_a_user_is_found(db: sqlite3.Connection, seed: int, newest: bool) -> None:
    story = Story(seed)
    held = story.written(db)
    places = [0, *(at(number) for number in range(0, LAST + 1, 3)), MAX_ID]
    for user in (*USERS, "mallory"):
        for changes in (True, False):
            own = [
                one.id
                for one in held
                if story.state.is_for(one, user) and (changes or one.kind == "message")
            ]
            for after in places:
                for before in (one for one in places if one >= after):
                    for limit in (1, 3, 99):
                        bounds = Bounds(limit, after, before, newest)
                        wanted = expected(own, bounds)
                        assert walks.user_ids(db, user, bounds, changes=changes) == wanted, bounds
                        count = walks.count_user(db, user, bounds, changes=changes)
                        assert count == len(wanted), bounds


@pytest.mark.parametrize("seed", range(20))
def test_entries_of_a_user_are_what_was_written(db: sqlite3.Connection, seed: int) -> None:
    story = Story(seed)
    held = story.written(db)
    for user in USERS:
        own = [one for one in held if story.state.is_for(one, user)]
        found = records.user_records(db, user, Bounds(99))
        assert [(one.id, one.kind, one.channel, one.audience, one.body) for one in found] == [
            (one.id, one.kind, one.channel, one.audience, one.body) for one in own
        ]


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_every_range_of_a_channel_is_found(db: sqlite3.Connection, seed: int, newest: bool) -> None:
    held = Story(seed).written(db)
    places = [0, *(at(number) for number in range(1, LAST, 5)), MAX_ID]
    for channel in CHANNELS:
        for reader in (*USERS, "mallory"):
            own = [one for one in held if one.channel == channel and is_for_reader(one, reader)]
            plain = [one.id for one in own if one.kind == "message" and not one.audience]
            for after in places:
                for before in places:
                    for limit in (1, 4, 99):
                        bounds = Bounds(limit, after, before, newest)
                        wanted = expected([one.id for one in own], bounds)
                        assert walks.channel_ids(db, channel, bounds, reader) == wanted
                        page = [one.id for one in messages.channel_page(db, channel, bounds)]
                        wanted = expected(plain, bounds)
                        assert page == (wanted[::-1] if newest else wanted)


@pytest.mark.parametrize("seed", range(30))
def test_lists_are_what_members_may_see(db: sqlite3.Connection, seed: int) -> None:
    story = Story(seed)
    held = story.written(db)
    for user in (*USERS, "mallory"):
        newest: dict[str, int] = {}
        for one in held:
            if one.kind == "message" and story.state.is_listed(one, user):
                newest[one.channel] = one.id
        for before in (at(LAST // 2), at(LAST - 3), MAX_ID):
            below = sorted((one for one in newest.values() if one < before), reverse=True)
            for limit in (1, 2, 99):
                found = listing.conversations(db, user, before, limit, NO_BYTE_BOUND)
                assert [one.last_id for one in found] == below[:limit]


def test_an_interval_without_records_hides_none_before_it(db: sqlite3.Connection) -> None:
    stays = [(1, 3), (5, 6), (8, 9), (11, 0)]
    for since, until in stays:
        one = Member("alice", at(since), at(until) if until else 0)
        writes.write_records(db, [group_change(20 + since, members=[one])], KINDS)
    writes.write_records(db, [group_message(2), group_message(4), group_message(10)], KINDS)
    for newest in (True, False):
        bounds = Bounds(9, before=at(20), newest=newest)
        assert walks.user_ids(db, "alice", bounds, changes=False) == [at(2)]
    assert [one.last_id for one in listing.conversations(db, "alice", MAX_ID, 9, 1)] == [at(2)]


def _steps(db: sqlite3.Connection, bounds: Bounds) -> int:
    """Hundreds of steps of SQLite's machine that a page takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    db.set_progress_handler(count, 100)
    assert len(walks.user_ids(db, "alice", bounds, changes=True)) == bounds.limit
    db.set_progress_handler(None, 0)
    return counted


def test_who_came_and_went_often_catches_up_for_what_paging_back_costs(
    db: sqlite3.Connection,
) -> None:
    """Intervals that ended before a record are not looked at again for the next one."""
    for number in range(0, 3000, 3):
        begun = Member("alice", at(number + 1))
        ended = Member("alice", at(number + 1), at(number + 2))
        records = [group_change(number + 1, members=[begun])]
        writes.write_records(db, [*records, group_change(number + 2, members=[ended])], KINDS)
    back = _steps(db, Bounds(100, before=at(1500)))
    assert _steps(db, Bounds(100, after=at(1500), newest=False)) < 2 * back
