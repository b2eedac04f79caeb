"""What every log promises of who is in a channel, as tests over real ones and those of tests."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import THIS_RECORD, Channel, Member
from chatsvc.core.record import Draft
from chatsvc.core.state_rows import ChannelRow
from chatsvc.log.base import MessageLog
from chatsvc.log.state import MemberPage
from testkit.group_drafts import GROUP, joining, leaving, member_change, said

SOON = 30.0
FIRST = (0, "")


async def appended(log: MessageLog, draft: Draft) -> int:
    return (await asyncio.wait_for(log.append(draft), SOON)).id


async def leave(log: MessageLog, *users: str) -> int:
    found = [log.state.member(GROUP, user) for user in users]
    return await appended(log, leaving(*(one for one in found if one is not None)))


def members(log: MessageLog, limit: int, after: tuple[int, str] = FIRST) -> list[str]:
    """Who is on the pages behind a place, from the first to the last."""
    users: list[str] = []
    place: tuple[int, str] | None = after
    while place is not None:
        page = log.state.members_page(GROUP, place, limit)
        assert len(page.members) <= limit
        assert page.after is None or page.after > place, "every page goes on"
        users += [one.user for one in page.members]
        place = page.after
    return users


class MembersSuite:
    """Subclasses give the fixture ``log``."""

    async def test_a_channels_row_has_the_record_that_changed_it_last(
        self, log: MessageLog
    ) -> None:
        assert log.state.channel_row(GROUP) is None
        first = await appended(log, joining("alice", "bob"))
        assert log.state.channel_row(GROUP) == ChannelRow(GROUP, Channel(2), first)
        left = await leave(log, "bob")
        await appended(log, said("changes nothing"))
        await appended(log, joining("bob", channel=",g:other"))
        assert log.state.channel_row(GROUP) == ChannelRow(GROUP, Channel(1), left)
        named = await appended(log, member_change(state=Channel(0, b'{"name":"x"}')))
        assert log.state.channel_row(GROUP) == ChannelRow(GROUP, Channel(1, b'{"name":"x"}'), named)
        assert log.state.channel(GROUP) == Channel(1, b'{"name":"x"}')

    async def test_a_users_memberships_are_the_newest_row_of_each_channel(
        self, log: MessageLog
    ) -> None:
        assert list(log.state.memberships("alice")) == []
        await appended(log, joining("alice", "bob"))
        await leave(log, "alice")
        again = await appended(log, joining("alice"))
        other = await appended(log, joining("alice", channel=",g:other"))
        asked = member_change(Member("alice", 0, role="invited"), channel=",g:asked")
        await appended(log, asked)
        found = log.state.memberships("alice")
        assert [(one.channel, one.member.joined, one.member.role) for one in found] == [
            (",g:asked", 0, "invited"),
            (",g:other", other, "member"),
            (GROUP, again, "member"),
        ]
        assert list(log.state.members_page(",g:asked", FIRST, 10).members) == []
        assert list(log.state.intervals_in("alice", ",g:asked")) == []

    async def test_a_channel_that_never_was_has_nobody(self, log: MessageLog) -> None:
        assert members(log, 10) == []
        await appended(log, joining("alice", channel=",g:other"))
        assert members(log, 10) == []

    async def test_members_are_in_the_order_of_their_joins_then_of_their_ids(
        self, log: MessageLog
    ) -> None:
        one = await appended(log, joining("zoe", "bob", "日", "\U0001f600"))
        two = await appended(log, joining("alice", role="admin"))
        page = log.state.members_page(GROUP, FIRST, 10)
        assert page.after is None
        assert list(page.members) == [
            *(Member(user, one, 0, "member", one) for user in ("bob", "zoe", "日", "\U0001f600")),
            Member("alice", two, 0, "admin", two),
        ]

    async def test_pages_of_any_size_have_everybody_once(self, log: MessageLog) -> None:
        await appended(log, joining("zoe", "bob", "carol"))
        await appended(log, joining("alice"))
        await appended(log, joining("dave", "yann"))
        everybody = ["bob", "carol", "zoe", "alice", "dave", "yann"]
        for limit in range(1, 9):
            assert members(log, limit) == everybody
        assert log.state.members_page(GROUP, FIRST, 7).after is None

    async def test_a_page_begins_behind_any_place(self, log: MessageLog) -> None:
        first = await appended(log, joining("bob", "carol"))
        second = await appended(log, joining("alice"))
        behind = {
            (-1, "zoe"): ["bob", "carol", "alice"],
            (0, "zoe"): ["bob", "carol", "alice"],
            (first - 1, "zoe"): ["bob", "carol", "alice"],
            (first, ""): ["bob", "carol", "alice"],
            (first, "bob"): ["carol", "alice"],
            (first, "bobby"): ["carol", "alice"],
            (first, "carol"): ["alice"],
            (second, ""): ["alice"],
            (second, "alice"): [],
            (second + 1, ""): [],
            ((1 << 63) - 1, ""): [],
            (1 << 63, ""): [],
            (MAX_ID, "zoe"): [],
        }
        for place, expected in behind.items():
            for limit in (1, 2, 10):
                assert members(log, limit, place) == expected, place

    async def test_who_has_left_is_on_no_page(self, log: MessageLog) -> None:
        await appended(log, joining("alice", "bob", "carol", "dave"))
        await appended(log, joining("eve"))
        await leave(log, "alice", "bob", "eve")
        for limit in range(1, 7):
            assert members(log, limit) == ["carol", "dave"]

    async def test_not_more_rows_than_the_limit_are_looked_at(self, log: MessageLog) -> None:
        joined = await appended(log, joining("alice", "bob", "carol"))
        await leave(log, "alice", "bob")
        page = log.state.members_page(GROUP, FIRST, 2)
        assert (list(page.members), page.after) == ([], (joined, "bob"))
        page = log.state.members_page(GROUP, (joined, "bob"), 2)
        assert ([one.user for one in page.members], page.after) == (["carol"], None)

    async def test_who_returns_is_at_the_place_of_the_newest_join(self, log: MessageLog) -> None:
        await appended(log, joining("alice", "bob"))
        await leave(log, "alice")
        await appended(log, joining("carol"))
        again = await appended(log, joining("alice"))
        for limit in range(1, 6):
            assert members(log, limit) == ["bob", "carol", "alice"]
        assert members(log, 1, (again, "")) == ["alice"]

    async def test_a_change_of_a_membership_moves_nobody(self, log: MessageLog) -> None:
        first = await appended(log, joining("alice"))
        await appended(log, joining("bob"))
        await appended(log, member_change(Member("alice", first, role="admin", muted_until=5)))
        page = log.state.members_page(GROUP, FIRST, 1)
        assert list(page.members) == [Member("alice", first, role="admin", muted_until=5)]
        assert members(log, 1) == ["alice", "bob"]

    async def test_who_only_must_not_join_is_no_member_and_not_looked_at(
        self, log: MessageLog
    ) -> None:
        await appended(log, member_change(Member("adam", 0, banned_until=9)))
        await appended(log, joining("bob"))
        banned = await appended(log, joining("carol"))
        await appended(log, member_change(Member("carol", banned, THIS_RECORD, banned_until=9)))
        page = log.state.members_page(GROUP, FIRST, 1)
        assert [one.user for one in page.members] == ["bob"]
        assert members(log, 10) == ["bob"]

    @pytest.mark.parametrize("limit", [1, 10])
    async def test_a_dissolved_channel_has_no_members(self, log: MessageLog, limit: int) -> None:
        first = await appended(log, joining("alice", "bob"))
        await appended(log, joining("carol", channel=",g:other"))
        ended = await appended(log, member_change(state=Channel(dissolved=THIS_RECORD)))
        for place in (FIRST, (first, "alice")):
            assert log.state.members_page(GROUP, place, limit) == MemberPage((), None)
        assert log.state.channel_row(GROUP) == ChannelRow(GROUP, Channel(0, b"{}", ended), ended)
        assert len(log.state.members_page(",g:other", FIRST, 10).members) == 1

    async def test_members_of_other_channels_are_not_seen(self, log: MessageLog) -> None:
        for channel in (",g:tea", ",g:team2", ",g:TEAM", ",g:teal", ",r:team"):
            await appended(log, joining("alice", "zoe", channel=channel))
        await appended(log, joining("bob"))
        await appended(log, joining("carol", channel=",g:tea"))
        for limit in (1, 2, 10):
            assert members(log, limit) == ["bob"]
