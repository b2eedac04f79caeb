"""Keys of conversations, as requests name them."""

from __future__ import annotations

import pytest

from chatsvc.api.conversation_access import (
    NamedConversation,
    named_by_key,
    participants_of,
    require_participant,
)
from chatsvc.core.errors import Forbidden, Invalid

HASHED = ",sha256:" + "a" * 64


class Lookup:
    def __init__(self, found: tuple[str, ...] | None) -> None:
        self.found = found
        self.asked: list[tuple[str, str]] = []

    async def participants(self, user: str, channel: str) -> tuple[str, ...] | None:
        self.asked.append((user, channel))
        return self.found


@pytest.mark.parametrize(
    ("channel", "proven"), [("alice,bob", True), ("alice", True), (HASHED, False), (",g:1", False)]
)
def test_a_key_that_lists_the_caller_is_proof_and_a_hashed_one_is_none(
    channel: str, proven: bool
) -> None:
    assert named_by_key("alice", channel) == NamedConversation(channel, proven)


@pytest.mark.parametrize("user", ["eve", "ali", "alice,bob", ""])
def test_a_key_that_lists_others_is_refused_at_the_channel(user: str) -> None:
    with pytest.raises(Forbidden) as caught:
        named_by_key(user, "alice,bob")
    assert caught.value.code == "not_a_participant"
    assert [error.pointer for error in caught.value.field_errors] == ["/channel"]


@pytest.mark.parametrize("channel", ["", "bob,alice", "alice,,bob", "x" * 256])
def test_a_key_that_none_can_have_is_invalid_at_the_channel(channel: str) -> None:
    with pytest.raises(Invalid) as caught:
        named_by_key("alice", channel)
    assert [error.pointer for error in caught.value.field_errors] == ["/channel"]


async def test_what_the_request_proves_is_not_looked_up() -> None:
    lookup = Lookup(None)
    await require_participant(lookup, "alice", NamedConversation("alice,bob", True))
    assert lookup.asked == []


async def test_what_it_does_not_prove_is_looked_up() -> None:
    lookup = Lookup(("alice", "bob"))
    await require_participant(lookup, "alice", NamedConversation(HASHED, False))
    assert lookup.asked == [("alice", HASHED)]
    assert await participants_of(lookup, "alice", HASHED) == ("alice", "bob")


async def test_a_group_has_nobody_in_its_list_and_may_be_read() -> None:
    lookup = Lookup(())
    await require_participant(lookup, "alice", named_by_key("alice", ",g:team"))
    assert lookup.asked == [("alice", ",g:team")]
    assert await participants_of(lookup, "alice", ",g:team") == ()


async def test_what_is_not_found_has_the_answer_of_a_conversation_of_others() -> None:
    with pytest.raises(Forbidden) as caught:
        await require_participant(Lookup(None), "alice", NamedConversation(HASHED, False))
    with pytest.raises(Forbidden) as of_others:
        named_by_key("eve", "alice,bob")
    assert str(caught.value) == str(of_others.value)
    assert caught.value.field_errors == of_others.value.field_errors
