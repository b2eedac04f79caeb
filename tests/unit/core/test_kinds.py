"""Kinds of records: what a program knows, and what is a message."""

from __future__ import annotations

import pytest

from chatsvc.core.kinds import Kind, Kinds

KINDS = Kinds(
    [Kind(name="message", counts=True), Kind(name="edit"), Kind(name="read", latest=True)]
)


def test_each_kind_says_what_is_kept_of_it() -> None:
    assert [name for name in ("message", "edit", "read", "vote") if KINDS.counts(name)] == [
        "message"
    ]
    assert [name for name in ("message", "edit", "read", "vote") if KINDS.is_latest(name)] == [
        "read"
    ]
    assert "edit" in KINDS
    assert "vote" not in KINDS
    assert KINDS.names == {"message", "edit", "read"}


@pytest.mark.parametrize("name", ["", "Edit", "1st", "_x", "a-b", "edit\n", "x" * 33])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be 1 to 32 of \[a-z_\]"):
        Kind(name=name)


def test_the_longest_name_is_taken() -> None:
    assert Kind(name="x" * 32).name == "x" * 32


def test_a_message_is_not_replaced_by_a_later_one() -> None:
    with pytest.raises(ValueError, match="a kind that counts must not be latest"):
        Kind(name="message", counts=True, latest=True)


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two kinds have the name 'edit'"):
        Kinds([Kind(name="edit"), Kind(name="edit", latest=True)])


def test_only_one_kind_counts() -> None:
    with pytest.raises(ValueError, match="only one kind may count, and here do message, notice"):
        Kinds([Kind(name="message", counts=True), Kind(name="notice", counts=True)])


def test_a_block_hides_kinds_that_say_so_and_are_known() -> None:
    kinds = Kinds([Kind(name="edit"), Kind(name="member", blockable=False)])
    assert [kinds.is_blockable(one) for one in ("edit", "member", "vote")] == [True, False, False]
