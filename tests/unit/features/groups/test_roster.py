"""A group for one of its members: roles, audiences, and who is the senior."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatsvc.core.errors import Conflict, Forbidden
from chatsvc.core.ids import MAX_ID
from chatsvc.core.limits import Limits
from chatsvc.core.membership import Channel, Interval, Member
from chatsvc.core.state_rows import ChannelRow
from chatsvc.features.groups import roster
from chatsvc.features.groups.roster import (
    GroupView,
    check_group_count,
    groups_of,
    successor,
    view_of,
)
from chatsvc.features.groups.settings import GroupSettings, encode_settings
from chatsvc.log.state import MemberPage
from tests.unit.support.fake_state import FakeState

CHANNEL = ",g:" + "0" * 32


class State(FakeState):
    """Rows that a test gives."""

    def __init__(self, settings: GroupSettings, *members: Member, dissolved: int = 0) -> None:
        super().__init__()
        self.rows = {one.user: one for one in members}
        count = sum(one.is_present for one in members)
        self.row = ChannelRow(CHANNEL, Channel(count, encode_settings(settings), dissolved), 9)
        self.of_user: Sequence[Interval] = ()

    def member(self, channel: str, user: str) -> Member | None:
        return self.rows.get(user) if channel == CHANNEL else None

    def channel_row(self, channel: str) -> ChannelRow | None:
        return self.row if channel == CHANNEL else None

    def members_page(self, channel: str, after: tuple[int, str], limit: int) -> MemberPage:
        ordered = sorted((one.joined, one.user) for one in self.rows.values())
        places = [place for place in ordered if place > after][:limit]
        found = [self.rows[user] for _, user in places]
        present = [one for one in found if one.is_present]
        return MemberPage(present, places[-1] if len(places) == limit else None)

    def intervals(self, user: str) -> Sequence[Interval]:
        return self.of_user


def view(settings: GroupSettings, me: str = "a", count: int = 3) -> GroupView:
    return GroupView(CHANNEL, count, 9, settings, Member(me, 1))


def test_a_group_is_shown_to_its_members_alone() -> None:
    club = GroupSettings(name="Club", admins=("a",))
    state = State(club, Member("a", 1), Member("b", 1, 5))
    found = view_of(state, CHANNEL, "a")
    assert (found.member_count, found.rev, found.role) == (1, 9, "admin")
    refused = [(state, CHANNEL, user) for user in ("b", "c")]
    refused += [(state, ",g:other", "a"), (State(club, Member("a", 1), dissolved=7), CHANNEL, "a")]
    answers = set()
    for one in refused:
        with pytest.raises(Forbidden) as raised:
            view_of(*one)
        answers.add((raised.value.code, str(raised.value), tuple(raised.value.field_errors)))
    assert len(answers) == 1, "whether there is such a group is not told"


@pytest.mark.parametrize(("count", "audience"), [(100, ()), (101, ("a", "b", "x", "y"))])
def test_in_a_large_group_a_change_is_for_those_concerned(
    count: int, audience: tuple[str, ...]
) -> None:
    settings = GroupSettings(name="Club", admins=("y", "b"), moderators=("m",))
    assert view(settings, count=count).audience(["x", "a"]) == audience


@pytest.mark.parametrize(
    ("admins", "moderators", "senior"),
    [
        (("a", "b"), (), None),
        (("a",), ("d", "c"), "d"),
        (("a",), ("gone", "c"), "c"),
        (("a",), (), "b"),
        (("b",), ("c",), None),
    ],
)
def test_the_senior_is_a_moderator_or_who_joined_first(
    admins: tuple[str, ...], moderators: tuple[str, ...], senior: str | None
) -> None:
    settings = GroupSettings(name="Club", admins=admins, moderators=moderators)
    rows = [Member("a", 1), Member("gone", 1, 4), Member("c", 3), Member("d", 3), Member("b", 2)]
    found = successor(State(settings, *rows), view(settings))
    assert (found.user if found else None) == senior


def test_the_senior_is_found_behind_many_who_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "SENIORITY_ROWS", 2)
    settings = GroupSettings(name="Club", admins=("a",))
    left = [Member(f"left {at}", 1, 2) for at in range(7)]
    state = State(settings, Member("a", 1), *left, Member("z", 3))
    found = successor(state, view(settings))
    assert found is not None
    assert found.user == "z"
    assert successor(State(settings, Member("a", 1), *left), view(settings)) is None


def test_a_user_is_in_a_bounded_number_of_groups() -> None:
    state = State(GroupSettings(name="Club"))
    state.of_user = [
        Interval(",g:1", 1, MAX_ID, 1),
        Interval(",g:2", 1, MAX_ID, 1),
        Interval(",g:3", 1, 5, 1),
        Interval(",r:lobby", 1, MAX_ID, 1),
    ]
    assert groups_of(state, "a") == [",g:1", ",g:2"]
    check_group_count(state, "a", Limits(groups_per_user=3))
    with pytest.raises(Conflict) as raised:
        check_group_count(state, "a", Limits(groups_per_user=2))
    assert raised.value.code == "too_many_groups"
