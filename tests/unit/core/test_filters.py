"""What filters hide, by ranges of ids."""

from __future__ import annotations

import pytest

from chatsvc.core.filters import NO_FILTERS, Filters
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import BLOCK, LEFT, Filter
from testkit.records import KINDS, START, change, other_kind, record

SENT = record(10, sender="alice")


def hides(filters: Filters, sent: object = SENT) -> bool:
    return filters.hides(sent, KINDS.is_blockable)  # type: ignore[arg-type]


def blocks(filters: Filters, sent: object = SENT) -> bool:
    return filters.blocks(sent, KINDS.is_blockable)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("since", "until", "hidden"),
    [
        (SENT.id, 0, True),
        (SENT.id + 1, 0, False),
        (0, SENT.id, False),
        (0, SENT.id + 1, True),
        (SENT.id, SENT.id + 1, True),
        (0, MAX_ID, True),
    ],
)
def test_a_range_has_its_first_id_and_not_its_end(since: int, until: int, hidden: bool) -> None:
    blocked = Filters([Filter("bob", BLOCK, "alice", since, until)])
    assert (hides(blocked), blocks(blocked)) == (hidden, hidden)
    left = Filters([Filter("bob", LEFT, "alice,bob", since, until)])
    assert (hides(left), blocks(left)) == (hidden, False)


def test_others_are_not_hidden() -> None:
    other = Filters([Filter("bob", BLOCK, "carol", 0), Filter("bob", LEFT, "bob,carol", 0)])
    assert not hides(other)


def test_one_of_several_ranges_is_enough() -> None:
    rows = [Filter("bob", BLOCK, "alice", 1, 2), Filter("bob", BLOCK, "alice", START)]
    assert hides(Filters(rows))


def test_nobody_blocks_themselves() -> None:
    assert not hides(Filters([Filter("alice", BLOCK, "alice", 0)]))


def test_a_block_hides_what_its_kind_allows() -> None:
    blocked = Filters([Filter("bob", BLOCK, "alice", 0)])
    assert hides(blocked, change(10, "edit"))
    assert not hides(blocked, other_kind(10, "vote"))  # of another version: it may be a kick
    left = Filters([Filter("bob", LEFT, "alice,bob", 0)])
    assert hides(left, other_kind(10, "vote"))


def test_who_has_left_a_set_has_returned_with_the_end_of_the_range() -> None:
    assert Filters([Filter("bob", LEFT, "alice,bob", 5)]).has_left("alice,bob")
    assert not Filters([Filter("bob", LEFT, "alice,bob", 5, 9)]).has_left("alice,bob")
    again = [Filter("bob", LEFT, "alice,bob", 5, 9), Filter("bob", LEFT, "alice,bob", 12)]
    assert Filters(again).has_left("alice,bob")
    assert not Filters(again).has_left("bob,carol")
    assert not Filters([Filter("bob", BLOCK, "alice,bob", 5)]).has_left("alice,bob")


def test_a_row_replaces_the_one_of_its_key() -> None:
    first = Filter("bob", BLOCK, "alice", 5)
    ended = Filter("bob", BLOCK, "alice", 5, 9)
    again = Filter("bob", BLOCK, "alice", 12)
    assert Filters([first]).with_rows([ended, again]).rows == (ended, again)
    assert NO_FILTERS.with_rows([first]).rows == (first,)


def test_a_sort_of_a_newer_version_hides_nothing() -> None:
    newer = Filters([Filter("bob", "muted", "alice", 0)])
    assert not hides(newer)
    assert newer


def test_nobody_has_filters_without_rows() -> None:
    assert not NO_FILTERS
    assert not hides(NO_FILTERS)
