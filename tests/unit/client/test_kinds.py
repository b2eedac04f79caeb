"""What a caller may choose as kinds."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.client import ChatClient
from chatsvc.client.kinds import MESSAGES_ONLY, ChosenKinds, chosen_kinds


@pytest.mark.parametrize("kinds", [None, "all"])
def test_all(kinds: str | None) -> None:
    chosen = chosen_kinds(kinds)
    assert (chosen.names, chosen.query, chosen.messages_only) == (None, None, False)
    assert "of_a_newer_server" in chosen


def test_some_are_named_once_and_in_one_order() -> None:
    chosen = chosen_kinds(iter(["reaction", "edit", "reaction"]))
    assert (chosen.names, chosen.query) == (("edit", "reaction"), "edit,reaction")
    assert "edit" in chosen
    assert "message" not in chosen
    assert not chosen.messages_only


def test_messages_alone() -> None:
    assert chosen_kinds(["message", "message"]) == MESSAGES_ONLY
    assert MESSAGES_ONLY.messages_only
    assert MESSAGES_ONLY.query == "message"
    assert not chosen_kinds(["message", "edit"]).messages_only
    assert not ChosenKinds(("edit",)).messages_only


def test_as_many_as_a_server_takes() -> None:
    names = [f"k{'_' * n}" for n in range(32)]
    assert len(chosen_kinds([*names[1:], names[0][:1]]).names or ()) == 32


@pytest.mark.parametrize(
    ("kinds", "error", "text"),
    [
        ([], ValueError, "kinds must name 1 to 32 kinds"),
        ([f"k{'_' * n}" for n in range(31)] + ["x", "y"], ValueError, "must name 1 to 32 kinds"),
        (["Edit"], ValueError, "letter first: 'Edit'"),
        (["edit,message"], ValueError, "letter first: 'edit,message'"),
        ([""], ValueError, "letter first: ''"),
        ("edit", TypeError, "an iterable of names, or 'all', not another string"),
        ([5], TypeError, "kinds must be strings, not int"),
    ],
)
def test_what_no_server_would_take(kinds: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        chosen_kinds(kinds)


async def test_a_client_refuses_it_before_it_connects() -> None:
    with pytest.raises(ValueError, match="letter first"):
        ChatClient("http://127.0.0.1:1", "t", kinds=["Edit"])
