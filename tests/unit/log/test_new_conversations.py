"""How many conversations a sender may begin in an hour."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import TooManyRequests
from chatsvc.log import new_conversations
from chatsvc.log.new_conversations import NewConversations


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begin(bound: NewConversations, sender: str, numbers: range) -> int:
    """How many are begun before the first refusal."""
    for done, number in enumerate(numbers):
        try:
            bound.begin(sender, f"{sender},{number}")
        except TooManyRequests:
            return done
    return len(numbers)


def test_so_many_at_once_and_then_as_many_an_hour(clock: Clock) -> None:
    bound = NewConversations(10, clock=clock)
    assert begin(bound, "alice", range(100)) == 10
    clock.now += 3 * 360  # three tenths of an hour
    assert begin(bound, "alice", range(100, 200)) == 3
    clock.now += 10 * 3600
    assert begin(bound, "alice", range(200, 300)) == 10, "what is not used does not pile up"
    assert bound.refused == 3


def test_the_refusal_says_when_the_next_may_begin(clock: Clock) -> None:
    bound = NewConversations(10, clock=clock)
    begin(bound, "alice", range(10))
    clock.now += 60
    with pytest.raises(TooManyRequests) as raised:
        bound.begin("alice", "alice,next")
    assert raised.value.code == "too_many_conversations"
    assert raised.value.retry_after == pytest.approx(300.0)
    assert "10" in raised.value.detail
    clock.now += raised.value.retry_after or 0
    bound.begin("alice", "alice,next")


def test_what_was_begun_lately_is_not_new(clock: Clock) -> None:
    bound = NewConversations(2, clock=clock)
    for _ in range(50):
        bound.begin("alice", "alice,bob")
    bound.begin("alice", "alice,carol")
    bound.begin("alice", "alice,bob")


def test_each_sender_has_a_bound_of_their_own(clock: Clock) -> None:
    bound = NewConversations(1, clock=clock)
    bound.begin("alice", "alice,bob")
    bound.begin("bob", "alice,bob")
    assert begin(bound, "alice", range(1)) == 0


def test_zero_is_no_bound(clock: Clock) -> None:
    bound = NewConversations(0, clock=clock)
    assert begin(bound, "alice", range(5000)) == 5000
    assert len(bound) == 0


def test_what_is_remembered_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_conversations, "SENDERS", 5)
    monkeypatch.setattr(new_conversations, "RECENT", 20)
    bound = NewConversations(10, clock=clock)
    for number in range(8):
        bound.begin(f"user {number}", "same")
    assert len(bound) == 5
    assert begin(bound, "user 7", range(20)) == 9, "the latest are remembered"
    assert begin(bound, "user 0", range(20)) == 10, "who fell out starts anew"
    bound.begin("user 3", "same")
    assert len(bound._recent) <= 20


def test_the_beginnings_that_are_known_as_made_are_the_most_recent(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat of one of them is free; the one before them is counted again."""
    monkeypatch.setattr(new_conversations, "RECENT", 3)
    bound = NewConversations(4, clock=clock)
    for number in range(4):
        bound.begin("alice", f"alice,{number}")
    for number in (1, 2, 3):
        bound.begin("alice", f"alice,{number}")
    with pytest.raises(TooManyRequests):
        bound.begin("alice", "alice,0")


def test_the_senders_that_are_known_began_something_last(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_conversations, "SENDERS", 2)
    bound = NewConversations(2, clock=clock)
    for sender, number in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        bound.begin(sender, f"{sender},{number}")
    assert begin(bound, "a", range(3, 4)) == 0, "a began something after b"
    assert begin(bound, "b", range(3, 9)) == 2
