"""Intervals of a channel: what the log knows, and what only the store does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import Interval
from chatsvc.core.state_rows import StatePage
from chatsvc.log.tail import Tail
from chatsvc.storage.history.memberships import ChannelIntervals
from chatsvc.storage.history.store_access import StoreAccess
from chatsvc.storage.memberships import StoredMemberships
from tests.unit.support.fake_state import FakeState

TEAM, OTHER = ",g:team", ",g:other"


class Store:
    def __init__(self, rows: Sequence[Interval]) -> None:
        self.rows = rows
        self.is_away = False
        self.asked: list[tuple[str, str]] = []

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        self.asked.append((user, channel))
        if self.is_away:
            raise StoreUnavailable("away")
        return [one for one in self.rows if one.channel == channel]

    async def state_page(self, after: str, limit: int) -> StatePage:
        raise NotImplementedError


class World:
    def __init__(self, *, floor: int = 50, stored: int | None = None) -> None:
        self.state = FakeState()
        self.store = Store([Interval(TEAM, 1, 9, 1), Interval(TEAM, 20, MAX_ID, 20)])
        self.state.of_user["alice"] = [Interval(TEAM, 20, 60, 20), Interval(OTHER, 5, MAX_ID, 5)]
        tail = Tail(recent_bytes=1, watermark=floor, floor=floor, stored=stored)
        access = StoreAccess(1.0, 3)
        self.memberships = StoredMemberships(self.state, tail, self.store, access)


async def test_the_log_alone_is_asked_what_matters_to_the_tail() -> None:
    world = World()
    assert await world.memberships.intervals("alice") == world.state.of_user["alice"]
    assert world.store.asked == []


async def test_of_a_channel_the_log_is_newer_and_the_store_has_more() -> None:
    world = World()
    found = await world.memberships.intervals_in("alice", TEAM)
    assert found == ChannelIntervals([Interval(TEAM, 1, 9, 1), Interval(TEAM, 20, 60, 20)])
    assert world.store.asked == [("alice", TEAM)]


async def test_of_a_channel_of_others_there_is_none() -> None:
    world = World()
    assert await world.memberships.intervals_in("alice", ",g:unknown") == ChannelIntervals([])
    assert world.store.asked == [("alice", ",g:unknown")]


async def test_a_tail_with_everything_needs_no_store() -> None:
    world = World(floor=0)
    found = await world.memberships.intervals_in("alice", TEAM)
    assert found == ChannelIntervals([Interval(TEAM, 20, 60, 20)])
    assert world.store.asked == []


async def test_with_the_store_away_the_log_answers_where_it_can() -> None:
    world = World()
    world.store.is_away = True
    found = await world.memberships.intervals_in("alice", TEAM)
    assert found == ChannelIntervals([Interval(TEAM, 20, 60, 20)], unknown=(0, 50))
    with pytest.raises(StoreUnavailable):
        await world.memberships.intervals_in("bob", TEAM)


async def test_whoever_left_is_no_member_in_a_store_that_was_put_back() -> None:
    """The log has let go of what ended below the floor, and the store has not got it again."""
    world = World(floor=50, stored=30)
    world.state.of_user.clear()
    found = await world.memberships.intervals_in("alice", TEAM)
    known = [Interval(TEAM, 1, 9, 1), Interval(TEAM, 20, 30, 20)]
    assert found == ChannelIntervals(known, unknown=(30, 50))
