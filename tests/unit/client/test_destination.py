from __future__ import annotations

import pytest
from msgspec import UNSET

from chatsvc.client.destination import Destination, find_destination
from chatsvc.core.participants import channel_key

MANY = [f"user-{number:03d}@example.com" for number in range(16)]


def test_participants_are_sent_as_given_and_known_by_their_key() -> None:
    given = iter(["bob", "alice", "bob"])
    assert find_destination(given, None) == Destination(
        "alice,bob", participants=["bob", "alice", "bob"], channel=UNSET
    )
    assert find_destination(reversed(MANY), None).key == channel_key(MANY)


def test_a_key_is_sent_as_given() -> None:
    key = channel_key(MANY)
    assert find_destination(None, key) == Destination(key, participants=UNSET, channel=key)


def test_exactly_one_must_be_given() -> None:
    with pytest.raises(ValueError, match="must be given, not both"):
        find_destination(["alice"], "alice")
    with pytest.raises(ValueError, match="participants or channel must be given"):
        find_destination(None, None)


def test_what_is_empty_is_given_and_the_server_refuses_it() -> None:
    assert find_destination([], None).participants == []
    assert find_destination(None, "").channel == ""
