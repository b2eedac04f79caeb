"""Rows that contradict each other are replaced, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatsvc.core.membership import Channel, Filter, Member
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow
from chatsvc.log.state_repair import StateRepair

GROUP, OTHER = ",g:one", ",g:two"


def repaired(rows: Sequence[StateRow], limit: int) -> list[StateRow]:
    repair = StateRepair()
    found: list[StateRow] = []
    for start in range(0, len(rows), limit):
        found += repair.repaired(rows[start : start + limit])
    return found + repair.missing()


CONSISTENT = [
    MemberRow(GROUP, Member("alice", 0, banned_until=9), 90),
    MemberRow(GROUP, Member("alice", 10, 20), 20),
    MemberRow(GROUP, Member("alice", 30), 30),
    MemberRow(OTHER, Member("alice", 5), 5),
    MemberRow(GROUP, Member("bob", 30, 40), 40),
    ChannelRow(GROUP, Channel(1), 40),
    ChannelRow(OTHER, Channel(0, b"{}", 50), 50),
    ChannelRow(",g:none", Channel(), 3),
    FilterRow(Filter("alice", "block", "eve", 7), 7),
]

by_page = pytest.mark.parametrize("limit", [1, 2, 100])


@by_page
def test_rows_that_agree_stay(limit: int) -> None:
    assert repaired(CONSISTENT, limit) == []


@by_page
@pytest.mark.parametrize("left", [0, 30, 35])
def test_a_membership_ends_before_the_next_begins(left: int, limit: int) -> None:
    first = Member("alice", 10, left, role="admin", visible_from=10)
    rows = [
        MemberRow(GROUP, first, max(10, left)),
        MemberRow(GROUP, Member("alice", 30), 30),
        ChannelRow(GROUP, Channel(1), 30),
    ]
    ended = Member("alice", 10, 29, role="admin", visible_from=10)
    assert repaired(rows, limit) == [MemberRow(GROUP, ended, max(30, left) + 1)]


@by_page
def test_of_three_that_go_on_the_last_does(limit: int) -> None:
    rows = [
        *(MemberRow(GROUP, Member("alice", joined), joined) for joined in (10, 20, 30)),
        ChannelRow(GROUP, Channel(2, b'{"name":"x"}'), 30),
    ]
    assert repaired(rows, limit) == [
        MemberRow(GROUP, Member("alice", 10, 19), 21),
        MemberRow(GROUP, Member("alice", 20, 29), 31),
        ChannelRow(GROUP, Channel(1, b'{"name":"x"}'), 31),
    ]


@by_page
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_channel_has_the_number_of_its_members(count: int, limit: int) -> None:
    rows = [
        MemberRow(GROUP, Member("alice", 10), 10),
        MemberRow(GROUP, Member("bob", 10), 10),
        ChannelRow(GROUP, Channel(count, b'{"name":"x"}'), 20),
    ]
    assert repaired(rows, limit) == [ChannelRow(GROUP, Channel(2, b'{"name":"x"}'), 21)]


@by_page
def test_a_channel_that_has_ended_has_none(limit: int) -> None:
    rows = [MemberRow(GROUP, Member("alice", 10), 10), ChannelRow(GROUP, Channel(1, b"{}", 20), 20)]
    assert repaired(rows, limit) == [ChannelRow(GROUP, Channel(0, b"{}", 20), 21)]


@by_page
def test_a_channel_with_members_has_a_row(limit: int) -> None:
    rows = [MemberRow(GROUP, Member("alice", 10), 10), MemberRow(GROUP, Member("bob", 20), 20)]
    assert repaired(rows, limit) == [ChannelRow(GROUP, Channel(2), 20)]


@by_page
def test_a_filter_without_an_end_ends_where_the_next_of_its_kind_begins(limit: int) -> None:
    rows = [
        FilterRow(Filter("alice", "block", "eve", 7), 9),
        FilterRow(Filter("alice", "block", "eve", 20), 20),
        FilterRow(Filter("alice", "block", "mallory", 5), 5),
        FilterRow(Filter("alice", "left", "alice,bob", 3, 9), 9),
        FilterRow(Filter("alice", "left", "alice,bob", 5), 12),
        FilterRow(Filter("bob", "left", "alice,bob", 7), 7),
    ]
    assert repaired(rows, limit) == [FilterRow(Filter("alice", "block", "eve", 7, 20), 21)]
