"""Each store against a plain model of groups, rooms and sets, at random."""

from __future__ import annotations

import random

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Channel, Filter, Member, personal_channel
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.ports.message_store import MessageStore
from testkit.groups import at, group_change, group_message
from testkit.memory_state import MemoryState, in_order, is_for_reader
from testkit.records import change, record
from tests.contract.support.stored import expect, ids

USERS = ("alice", "bob", "carol", "dave")
CHANNELS = (",g:one", ",g:two", ",r:three")
SETS = (("alice", "bob"), ("alice", "bob", "carol", "dave", "eve"))


class Story:
    """Records in their order, the rows that they leave, and which of them are left."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.number = 0
        self.purged = 0
        self.present: dict[tuple[str, str], Member] = {}
        self.written: list[Record] = []
        self.state = MemoryState()

    def batch(self) -> list[Record]:
        """The next records, and some of before."""
        fresh = [self._made() for _ in range(self.dice.randrange(1, 10))]
        kept = [one for one in self.written if one.id >= self.purged]
        again = self.dice.sample(kept, min(len(kept), 2))
        self.written += fresh
        self.state.fold(fresh)
        return sorted([*again, *fresh], key=lambda one: one.id)

    def held(self) -> list[Record]:
        """Those that were not purged; of ``read`` the newest of each channel and target."""
        newest = {(one.channel, one.target): one.id for one in self.written if one.kind == "read"}
        return [
            one
            for one in self.written
            if one.id >= self.purged
            and (one.kind != "read" or newest[one.channel, one.target] == one.id)
        ]

    def _made(self) -> Record:
        self.number += 1
        dice, number, channel = self.dice, self.number, self.dice.choice(CHANNELS)
        to = tuple(dice.sample(USERS, dice.randrange(1, 4))) if dice.random() < 0.2 else ()
        what = dice.choice(("set", "member", "member", "message", "message", "change", "filter"))
        if what == "set":
            people = dice.choice(SETS)
            make = record if dice.random() < 0.6 else change
            return make(number, to=people, client_id=f"k{number}")
        if what == "member":
            return self._membership(number, channel, to)
        if what == "filter":
            user = dice.choice(USERS)
            one = Filter(user, "block", dice.choice(USERS), at(dice.randrange(3)), at(number))
            own = personal_channel(user)
            return group_change(number, channel=own, to=(user,), sender=user, filters=[one])
        if what == "message":
            return group_message(number, channel=channel, to=to, client_id=f"k{number}")
        kind, target = dice.choice((("edit", ""), ("read", "x"), ("read", "y")))
        return group_change(number, kind, channel=channel, to=to, target=target)

    def _membership(self, number: int, channel: str, to: tuple[str, ...]) -> Record:
        """Somebody joins or leaves; now and then everybody leaves."""
        dice, user = self.dice, self.dice.choice(USERS)
        dissolved = at(number) if dice.random() < 0.05 else 0
        held = self.present.pop((channel, user), None)
        if held is not None:
            one = Member(user, held.joined, at(number), visible_from=held.visible_from)
        else:
            seen = at(dice.randrange(1, number + 5)) if dice.random() < 0.3 else 0
            one = self.present[channel, user] = Member(user, at(number), visible_from=seen)
        settings = Channel(dice.randrange(9), b'{"n":%d}' % number, dissolved)
        return group_change(number, channel=channel, to=to, members=[one], settings=settings)

    def bounds(self) -> Bounds:
        """A range of ids."""
        return Bounds(
            self.dice.choice((1, 2, 5, 100)),
            self.dice.choice((0, at(self.dice.randrange(self.number)))),
            self.dice.choice((MAX_ID, at(self.dice.randrange(self.number + 2)))),
            self.dice.random() < 0.5,
        )


def page(records: list[Record], bounds: Bounds) -> list[Record]:
    inside = [one for one in records if bounds.after < one.id < bounds.before]
    return inside[-bounds.limit :] if bounds.newest else inside[: bounds.limit]


@pytest.mark.parametrize("seed", range(4))
async def test_members_find_what_the_model_has(store: MessageStore, seed: int) -> None:
    story = Story(seed)
    for _ in range(10):
        assert await store.write(story.batch()) == []
        if story.dice.random() < 0.2:
            lowest = at(story.dice.randrange(max(story.number - 20, 0), story.number))
            story.purged = max(story.purged, lowest)
            while await store.purge(story.purged, limit=7):
                pass
        for user in (*USERS, "mallory"):
            await check_user(store, story, user, story.bounds())
            for channel in CHANNELS:
                await check_channel(store, story, channel, user)
    rows = (await store.state_page("", 1000)).rows
    assert in_order(rows) == in_order(story.state.page("", 1000).rows)


async def check_user(store: MessageStore, story: Story, user: str, bounds: Bounds) -> None:
    own = [one for one in story.held() if story.state.is_for(one, user)]
    messages = [one for one in own if one.kind == "message"]
    expect(await store.user_records(user, bounds), page(own, bounds))
    assert await store.count_user_records(user, bounds) == len(page(own, bounds))
    expect(await store.user_page(user, bounds), page(messages, bounds))
    assert await store.count_user(user, bounds) == len(page(messages, bounds))
    newest = {
        one.channel: one.id
        for one in story.held()
        if one.kind == "message" and story.state.is_listed(one, user)
    }
    below = sorted((one for one in newest.values() if one < bounds.before), reverse=True)
    listed = await store.conversations(user, before=bounds.before, limit=bounds.limit)
    assert [one.last_id for one in listed] == below[: bounds.limit]


async def check_channel(store: MessageStore, story: Story, channel: str, user: str) -> None:
    bounds = story.bounds()
    own = [one for one in story.held() if one.channel == channel and is_for_reader(one, user)]
    expect(await store.channel_records(channel, bounds, reader=user), page(own, bounds))
    plain = [one for one in own if one.kind == "message" and not one.audience]
    assert ids(await store.channel_page(channel, bounds)) == [one.id for one in page(plain, bounds)]
    intervals = story.state.intervals(user, channel)
    assert await store.intervals(user, channel) == intervals
    members = await store.members(user, channel)
    assert (members is None) == (not intervals)
    assert members is None or members.participants == ()
