"""What may have been forgotten is told by when it was minted."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.log import key_bounds
from chatsvc.log.key_bounds import AHEAD_MS, KeyBounds
from testkit.client_ids import uuid7_at

T0 = 1_700_000_000_000
YEAR = 365 * 86_400_000


class Clock:
    def __init__(self) -> None:
        self.ms = T0

    def __call__(self) -> int:
        return self.ms


def test_nothing_is_covered_before_anything_is_forgotten() -> None:
    bounds = KeyBounds()
    for ms in (0, T0, T0 + 100 * YEAR):
        assert not bounds.covers("alice", uuid7_at(ms))


def test_a_senders_bound_is_the_latest_minted_and_that_senders_alone() -> None:
    bounds = KeyBounds()
    bounds.forgot("alice", [uuid7_at(T0 + 5)])
    bounds.forgot("alice", [uuid7_at(T0)])
    assert bounds.covers("alice", uuid7_at(T0 + 5, 2))
    assert not bounds.covers("alice", uuid7_at(T0 + 6))
    assert not bounds.covers("bob", uuid7_at(T0))


def test_other_strings_are_forgotten_for_good() -> None:
    bounds = KeyBounds(window_seconds=600)
    bounds.forgot("alice", ["anything"])
    assert not bounds.covers("alice", "anything")


def test_after_a_loss_other_strings_are_looked_up_for_a_window_that_was_lived_through() -> None:
    seconds = 50.0
    bounds = KeyBounds(lived=lambda: seconds, window_seconds=600)
    bounds.past_is_unknown(T0, 77)
    bounds.learn_past(T0, [])
    assert bounds.covers("alice", "anything")
    assert bounds.used_above("anything") == 77
    assert bounds.used_above(uuid7_at(T0)) == 0
    seconds += 599
    again = KeyBounds(bounds.save(0), lived=lambda: seconds, window_seconds=600)
    assert again.covers("alice", "anything")
    assert again.used_above("anything") == 77
    seconds += 1
    assert not again.covers("alice", "anything")
    assert again.plain_after == 77, "the store's next mark says so"


def test_what_an_earlier_version_saved_tells_nothing_of_other_strings() -> None:
    bounds = KeyBounds("[1,7,0,0,true,{}]", lived=lambda: 1.0, window_seconds=600)
    assert (bounds.known, bounds.unmet, bounds.plain_after) == (True, True, 0)
    assert not bounds.covers("alice", "anything")


@pytest.mark.parametrize("learnt", [True, False])
def test_an_empty_store_is_asked_for_no_string(learnt: bool) -> None:
    bounds = KeyBounds(lived=lambda: 1.0, window_seconds=600)
    bounds.past_is_unknown(None if learnt else 0)
    assert bounds.covers("alice", "anything") == learnt
    bounds.learn_past(0, [])
    assert not bounds.covers("alice", "anything")


def test_many_senders_share_the_bound_of_the_latest_among_the_earliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_bounds, "SENDERS", 3)
    bounds = KeyBounds()
    for number in range(7):  # the seventh is one too many for twice three
        bounds.forgot(f"u{number}", [uuid7_at(T0 + number)])
    assert bounds.covers("anybody", uuid7_at(T0 + 3))
    assert not bounds.covers("anybody", uuid7_at(T0 + 4))
    for number in range(7):
        assert bounds.covers(f"u{number}", uuid7_at(T0 + number))
    assert not bounds.covers("u5", uuid7_at(T0 + 6))


def test_a_few_clocks_far_ahead_raise_nobody_elses_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_bounds, "SENDERS", 3)
    bounds = KeyBounds()
    for number in range(3):
        bounds.forgot(f"ahead{number}", [uuid7_at(T0 + YEAR)])
    for number in range(50):
        bounds.forgot(f"u{number}", [uuid7_at(T0 + number)])
    assert not bounds.covers("fresh", uuid7_at(T0 + 50))
    assert bounds.covers("ahead1", uuid7_at(T0 + 50))


def test_it_outlives_the_process() -> None:
    bounds = KeyBounds()
    bounds.forgot("alice", [uuid7_at(T0)])
    bounds.past_is_unknown(T0 - YEAR)
    again = KeyBounds(bounds.save(77))
    assert (again.known, again.position, again.unmet) == (True, 77, True)
    assert again.covers("alice", uuid7_at(T0))
    assert not again.covers("bob", uuid7_at(T0))
    assert again.covers("bob", uuid7_at(T0 - YEAR + AHEAD_MS))


@pytest.mark.parametrize("saved", [None, "", "[", "[2,7,0,0,false,{}]", '[1,"x"]'])
def test_what_cannot_be_read_is_not_known(saved: str | None) -> None:
    bounds = KeyBounds(saved)
    assert (bounds.known, bounds.position, bounds.unmet) == (False, 0, False)


def test_a_store_that_does_not_answer_may_be_as_new_as_the_clock() -> None:
    clock = Clock()
    bounds = KeyBounds(clock=clock)
    bounds.past_is_unknown(None)
    assert bounds.unmet
    assert bounds.covers("alice", uuid7_at(T0 + AHEAD_MS))
    assert bounds.covers("alice", uuid7_at(T0 + AHEAD_MS + 1)), "ahead of the clock"
    clock.ms += AHEAD_MS + 1
    assert not bounds.covers("alice", uuid7_at(T0 + AHEAD_MS + 1))
    assert bounds.covers("alice", uuid7_at(clock.ms + AHEAD_MS + 1))


def test_ahead_of_the_clock_begins_above_what_an_own_id_bounds() -> None:
    bounds = KeyBounds(clock=Clock())
    bounds.past_is_unknown(0)
    assert not bounds.covers("alice", uuid7_at(T0 + AHEAD_MS))
    assert bounds.covers("alice", uuid7_at(T0 + AHEAD_MS + 1))


def test_what_the_store_tells_replaces_what_was_feared() -> None:
    bounds = KeyBounds(clock=Clock())
    bounds.past_is_unknown(None)
    bounds.learn_past(T0 - 1000 + AHEAD_MS, [("ahead", T0 + YEAR)])
    assert not bounds.unmet
    assert bounds.covers("alice", uuid7_at(T0 - 1000 + AHEAD_MS))
    assert not bounds.covers("alice", uuid7_at(T0 - 1000 + AHEAD_MS + 1))
    assert not bounds.covers("alice", uuid7_at(T0 + YEAR)), "the clock takes no part any more"
    assert bounds.covers("ahead", uuid7_at(T0 + YEAR))


def test_an_empty_store_holds_no_past() -> None:
    bounds = KeyBounds(clock=Clock())
    bounds.past_is_unknown(0)
    assert bounds.unmet
    assert not bounds.covers("alice", uuid7_at(0))
    bounds.learn_past(0, [])
    assert not bounds.covers("alice", uuid7_at(0))
    assert not bounds.covers("alice", uuid7_at(T0 + YEAR))


def test_more_senders_ahead_than_are_kept_share_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_bounds, "SENDERS", 2)
    bounds = KeyBounds()
    bounds.learn_past(T0, [("a", T0 + 3 * YEAR), ("b", T0 + 2 * YEAR), ("c", T0 + YEAR)])
    assert bounds.covers("d", uuid7_at(T0 + YEAR))
    assert not bounds.covers("d", uuid7_at(T0 + YEAR + 1))
    bounds = KeyBounds()
    bounds.learn_past(T0, [("a", T0 + 3 * YEAR), ("b", T0 + 2 * YEAR)])
    assert not bounds.covers("d", uuid7_at(T0 + YEAR)), "two are kept one by one"


def test_a_bound_that_the_shared_one_covers_is_not_kept_on_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_bounds, "SENDERS", 1)
    bounds = KeyBounds()
    bounds.learn_past(T0, [("a", T0 + 3 * YEAR), ("b", T0 + YEAR)])
    for minted in (T0, T0 + YEAR):
        bounds.forgot("c", [uuid7_at(minted)])
    assert set(msgspec.json.decode(bounds.save(0))[5]) == {"a", "b"}
    bounds = KeyBounds(bounds.save(0))
    assert bounds.covers("c", uuid7_at(T0 + YEAR))


def test_the_saved_form_is_bounded() -> None:
    bounds = KeyBounds()
    for number in range(5 * key_bounds.SENDERS):
        bounds.forgot(f"u{number}", [uuid7_at(T0 + number)])
    senders = msgspec.json.decode(bounds.save(0))[5]
    assert key_bounds.SENDERS <= len(senders) <= 2 * key_bounds.SENDERS


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 100), st.booleans()), min_size=1, max_size=60
    )
)
def test_whatever_was_forgotten_is_covered(steps: list[tuple[int, int, bool]]) -> None:
    kept = key_bounds.SENDERS
    key_bounds.SENDERS = 2  # type: ignore[misc]
    try:
        bounds = KeyBounds()
        forgotten: list[tuple[str, str]] = []
        for sender, minted, restart in steps:
            forgotten.append((f"u{sender}", uuid7_at(T0 + minted)))
            bounds.forgot(forgotten[-1][0], [forgotten[-1][1]])
            if restart:
                bounds = KeyBounds(bounds.save(0))
            assert all(bounds.covers(*key) for key in forgotten)
    finally:
        key_bounds.SENDERS = kept  # type: ignore[misc]
