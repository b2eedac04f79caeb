"""Changes of rows put together: the order, the repetition and the batches make no difference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.projection import Key, Max, Put, Remove, RowChange
from chatsvc.storage.projections.row_state import Changes, RowState

Numbered = tuple[int, list[RowChange]]

KEYS = [("a", 1), ("a", 2), ("b", 1)]
keys = st.sampled_from(KEYS)
changes = st.one_of(
    st.builds(Put, keys, st.fixed_dictionaries({"x": st.integers(0, 9)})),
    st.builds(Max, keys, st.just("m"), st.integers(0, 9)),
    st.builds(Remove, st.sampled_from([*KEYS, ("a",), ("b",)])),
)
records = st.lists(st.lists(changes, min_size=1, max_size=3), min_size=1, max_size=8).map(
    lambda found: list(enumerate(found, 1))
)


class Stored:
    """What an adapter does with one batch after the other, told in a few lines."""

    def __init__(self) -> None:
        self.rows: dict[Key, RowState] = {}
        self.removed: dict[Key, int] = {}

    def write(self, batch: Sequence[Numbered]) -> None:
        changes = Changes()
        for rev, changed in batch:
            changes.add(rev, changed)
        for prefix, rev in changes.removed.items():
            self.removed[prefix] = max(rev, self.removed.get(prefix, 0))
            for key, state in list(self.rows.items()):
                if key[: len(prefix)] == prefix:
                    left = state.without(rev)
                    self.rows[key] = left
                    if left.is_empty:
                        del self.rows[key]
        for key, state in changes.left(self.removed).items():
            self.rows[key] = self.rows.get(key, RowState()).joined(state)


def written(batches: Sequence[Sequence[Numbered]]) -> dict[Key, RowState]:
    stored = Stored()
    for batch in batches:
        stored.write(batch)
    return stored.rows


def plain(found: Sequence[Numbered], key: Key) -> RowState:
    """What the docstrings say, without a word of states: of the whole set of records."""
    removed = max(
        (rev for rev, all_ in found for one in all_ if isinstance(one, Remove)
         and key[: len(one.prefix)] == one.prefix),
        default=0,
    )  # fmt: skip
    mine = [
        (rev, one)
        for rev, all_ in found
        for one in all_
        if isinstance(one, Put | Max) and one.key == key
    ]
    puts = [(rev, one.values) for rev, one in mine if isinstance(one, Put) and rev >= removed]
    maxima = [one.value for _, one in mine if isinstance(one, Max)]
    # Of one record the last put holds, and they are listed in its order.
    newest = max((rev for rev, _ in puts), default=0)
    return RowState(
        max((rev for rev, _ in mine if rev >= removed), default=0),
        newest,
        [values for rev, values in puts if rev == newest][-1] if puts else {},
        {"m": max(maxima)} if maxima else {},  # type: ignore[type-var]
    )


@given(records, st.data())
def test_any_order_repetition_and_batches_give_the_same_rows(
    found: list[Numbered], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(found), max_size=6))
    shuffled = data.draw(st.permutations([*found, *again]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    edges = [0, *cuts, len(shuffled)]
    batches = [shuffled[low:high] for low, high in pairwise(edges)]
    rows = written(batches)
    assert rows == written([found])
    for key in KEYS:
        state = plain(found, key)
        assert rows.get(key, RowState()) == (RowState() if state.is_empty else state)


@given(records, records)
def test_two_halves_joined_are_the_whole(one: list[Numbered], other: list[Numbered]) -> None:
    """As a projection that is built from old records while new ones are folded."""
    newer = [(rev + len(one), changed) for rev, changed in other]
    assert written([newer, one]) == written([one, newer]) == written([[*one, *newer]])


def test_of_one_record_the_last_put_holds_and_a_removal_comes_first() -> None:
    found = Changes()
    found.add(1, [Put(("a", 1), {"x": 1}), Remove(("a",)), Put(("a", 1), {"x": 2})])
    found.add(1, [Put(("a", 1), {"x": 1}), Remove(("a",)), Put(("a", 1), {"x": 2})])
    assert found.left({}) == {("a", 1): RowState(1, 1, {"x": 2}, {})}


@pytest.mark.parametrize(
    ("removed", "rev", "put_rev"), [(3, 5, 3), (4, 5, 0), (5, 5, 0), (6, 0, 0)]
)
def test_a_removal_takes_what_is_older(removed: int, rev: int, put_rev: int) -> None:
    state = RowState(5, 3, {"x": 1}, {"m": 7}).without(removed)
    assert state == RowState(rev, put_rev, {"x": 1} if put_rev else {}, {"m": 7})
    assert not state.is_empty
    assert RowState(0, 0, {}, {}).is_empty
