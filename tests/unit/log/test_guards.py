"""Which keys were touched last, and what follows for a decision."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from chatsvc.core.record import Draft, Record, accept
from chatsvc.log.guards import FORGET_AT_ONCE, Guard, Touches
from testkit.drafts import draft


def touching(*keys: str) -> Draft:
    return msgspec.structs.replace(draft(), touches=keys)


def record(record_id: int, *keys: str) -> Record:
    return accept(touching(*keys), record_id)


def settled(touches: Touches, *records: Record) -> Touches:
    touches.settle(records)
    return touches


@pytest.mark.parametrize(
    ("as_of", "keys", "by"),
    [
        (20, ("a",), None),
        (19, ("a",), 20),
        (10, ("a",), 20),
        (10, ("b",), None),
        (9, ("b",), 10),
        (9, ("a", "b"), 20),
        (9, ("b", "a"), 20),
        (15, ("b", "a"), 20),
        (5, ("c",), None),
        (5, (), None),
        (20, ("a", "b", "c"), None),
    ],
)
def test_a_decision_is_stale_by_what_touched_its_keys_since(
    as_of: int, keys: tuple[str, ...], by: int | None
) -> None:
    touches = settled(Touches(forgotten=5), record(10, "a", "b"), record(20, "a"))
    assert touches.stale_by(Guard(as_of, keys)) == by


@pytest.mark.parametrize(("as_of", "by"), [(99, 100), (100, None), (101, None)])
def test_at_a_start_a_decision_as_of_the_head_is_not_stale(as_of: int, by: int | None) -> None:
    assert Touches(forgotten=100).stale_by(Guard(as_of, ("a",))) == by
    assert Touches(forgotten=100).stale_by(Guard(as_of, ())) == by


def test_what_is_being_written_is_undecided_and_may_be_taken_back() -> None:
    touches = Touches(forgotten=0)
    touches.begin([touching("a"), touching("b", "c")])
    assert touches.are_undecided(("x", "c"))
    assert not touches.are_undecided(("x",))
    assert not touches.are_undecided(())
    assert touches.stale_by(Guard(0, ("a",))) is None
    touches.settle([record(10, "a")])
    assert not touches.are_undecided(("a", "b", "c"))
    assert touches.stale_by(Guard(0, ("a",))) == 10
    assert touches.stale_by(Guard(0, ("b", "c"))) is None


def test_a_record_that_gets_another_place_touches_there_and_takes_nothing_back() -> None:
    touches = settled(Touches(forgotten=0), record(10, "a"), record(20, "b"))
    touches.add(record(15, "a", "b"))
    assert touches.stale_by(Guard(14, ("a",))) == 15
    assert touches.stale_by(Guard(19, ("b",))) == 20


def known(touches: Touches, keys: Sequence[str], as_of: int) -> list[str]:
    """Those of the keys of which a touch is known."""
    return [key for key in keys if touches.stale_by(Guard(as_of, (key,))) is not None]


def test_beyond_the_bound_the_keys_go_that_were_touched_the_longest_ago() -> None:
    touches = Touches(forgotten=0, max_keys=2)
    settled(touches, record(10, "a"), record(20, "b"), record(30, "c"), record(40, "a"))
    touches.forget(stored=100)
    assert (len(touches), touches.forgotten) == (2, 20)
    assert known(touches, "abc", as_of=20) == ["a", "c"]
    assert touches.stale_by(Guard(19, ("never touched",))) == 20


@pytest.mark.parametrize(
    ("stored", "kept", "forgotten"), [(9, 4, 0), (10, 3, 10), (19, 3, 10), (20, 2, 20), (99, 2, 20)]
)
def test_none_goes_that_was_touched_above_what_is_stored(
    stored: int, kept: int, forgotten: int
) -> None:
    touches = Touches(forgotten=0, max_keys=2)
    settled(touches, record(10, "a"), record(20, "b"), record(30, "c"), record(40, "d"))
    touches.forget(stored)
    assert (len(touches), touches.forgotten) == (kept, forgotten)


@pytest.mark.parametrize(
    ("above", "kept", "forgotten"),
    [(0, 4, 0), (9, 4, 0), (10, 3, 10), (19, 3, 10), (20, 2, 20), (99, 2, 20), (None, 2, 20)],
)
def test_none_goes_that_is_held_for_rows_that_are_behind(
    above: int | None, kept: int, forgotten: int
) -> None:
    touches = Touches(forgotten=0, max_keys=2, max_held_keys=4)
    settled(touches, record(10, "a"), record(20, "b"), record(30, "c"), record(40, "d"))
    touches.hold(above)
    touches.forget(stored=99)
    assert (len(touches), touches.forgotten) == (kept, forgotten)
    if above is not None:
        assert touches.stale_by(Guard(max(above, forgotten), ("never touched",))) is None
        touches.hold(None)
        touches.forget(stored=99)
        assert (len(touches), touches.forgotten) == (2, 20)


@pytest.mark.parametrize(("stored", "kept", "forgotten"), [(9, 4, 0), (10, 3, 10), (99, 3, 10)])
def test_beyond_their_bound_those_go_that_are_held_but_none_that_is_not_stored(
    stored: int, kept: int, forgotten: int
) -> None:
    touches = Touches(forgotten=0, max_keys=2, max_held_keys=3)
    settled(touches, record(10, "a"), record(20, "b"), record(30, "c"), record(40, "d"))
    touches.hold(0)
    touches.forget(stored)
    assert (len(touches), touches.forgotten) == (kept, forgotten)
    assert touches.stale_by(Guard(0, ("never touched",))) == (forgotten or None)


def test_within_the_bound_all_are_kept() -> None:
    touches = Touches(forgotten=3, max_keys=2)
    settled(touches, record(10, "a"), record(20, "b"))
    touches.forget(stored=100)
    assert (len(touches), touches.forgotten) == (2, 3)


def test_what_is_forgotten_never_goes_back() -> None:
    touches = Touches(forgotten=50, max_keys=0)
    settled(touches, record(10, "a"))
    touches.forget(stored=100)
    assert (len(touches), touches.forgotten) == (0, 50)


def test_a_bounded_number_is_forgotten_at_once() -> None:
    keys = [str(n) for n in range(2 * FORGET_AT_ONCE + 3)]
    records = [record(at, key) for at, key in enumerate(keys, 1)]
    touches = settled(Touches(forgotten=0, max_keys=2), *records)
    left = []
    for _ in range(4):
        touches.forget(stored=len(keys))
        left.append(len(touches))
    assert left == [FORGET_AT_ONCE + 3, 3, 2, 2]
    assert touches.forgotten == len(keys) - 2
