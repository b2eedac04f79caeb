"""The state of a row, and how changes of it are put together.

A state is the join of all changes of a row, in any order and however often: of the puts the one
with the highest ``rev``, of each maximum the highest value, and the highest ``rev`` of either. A
removal that is newer than a put takes its values, and one that is newer than everything hides the
row (``rev`` 0). Every adapter does the same in its database, row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chatsvc.core.projection import Key, KeyValue, Max, Put, Remove, Row, RowChange, Value


class RowState(NamedTuple):
    """What is known of a row.

    Args:
        rev: the id of the newest record that put or raised something here; 0: it is hidden.
        put_rev: the id of the record that set ``puts``; 0: none did.
        puts: the columns that are put.
        maxima: the columns that are maxima; those that were never raised are not there.
    """

    rev: int = 0
    put_rev: int = 0
    puts: Mapping[str, Value] = {}  # never changed: a state is made anew
    maxima: Mapping[str, KeyValue] = {}

    @property
    def is_empty(self) -> bool:
        """Whether it is that of a row that is not there."""
        return self.rev == 0 and not self.maxima

    def joined(self, other: RowState) -> RowState:
        """Return the state of both."""
        newest = other if other.put_rev > self.put_rev else self
        maxima = dict(self.maxima)
        for name, value in other.maxima.items():
            maxima[name] = max(maxima.get(name, value), value)
        return RowState(max(self.rev, other.rev), newest.put_rev, newest.puts, maxima)

    def without(self, removed: int) -> RowState:
        """Return what is left by a removal of this ``rev``."""
        state = self
        if state.put_rev < removed:
            state = state._replace(put_rev=0, puts={})
        return state._replace(rev=0) if state.rev < removed else state

    def row(self, key: Key, columns: Iterable[str]) -> Row:
        """Return the row, with ``None`` in each of the columns that nothing set."""
        values = {name: self.puts.get(name, self.maxima.get(name)) for name in columns}
        return Row(key, self.rev, values)


def state_of(rev: int, change: Put | Max) -> RowState:
    """Return the state of a row of which one change is known."""
    if isinstance(change, Put):
        return RowState(rev, rev, change.values)
    return RowState(rev, maxima={change.column: change.value})


def prefixes(key: Key) -> list[Key]:
    """Return the prefixes of a key, itself included."""
    return [key[:length] for length in range(1, len(key) + 1)]


class Changes:
    """What records change in one projection, put together: one state for each row.

    ``removed`` are the prefixes of keys with the highest ``rev`` of their removals.
    """

    def __init__(self) -> None:
        self.states: dict[Key, RowState] = {}
        self.removed: dict[Key, int] = {}

    def add(self, rev: int, changes: Iterable[RowChange]) -> None:
        """Add what one record changes."""
        for change in changes:
            if isinstance(change, Remove):
                self.removed[change.prefix] = max(self.removed.get(change.prefix, 0), rev)
                continue
            state = state_of(rev, change)
            held = self.states.get(change.key)
            if held is None:
                self.states[change.key] = state
            elif isinstance(change, Put) and held.put_rev == rev:
                # Of one record the last put holds, as it does of a dict's items.
                self.states[change.key] = held._replace(puts=change.values)
            else:
                self.states[change.key] = held.joined(state)

    def left(self, removed: Mapping[Key, int]) -> dict[Key, RowState]:
        """Return the states that are not empty after removals, those of its own included."""
        if not removed and not self.removed:
            return self.states  # the usual case
        found: dict[Key, RowState] = {}
        for key, held in self.states.items():
            rev = max(
                max(removed.get(prefix, 0), self.removed.get(prefix, 0)) for prefix in prefixes(key)
            )
            state = held.without(rev)
            if not state.is_empty:
                found[key] = state
        return found

    def removed_at(self, key: Key) -> int:
        """Return the highest ``rev`` of its removals of a row; 0 if there is none."""
        return max(self.removed.get(prefix, 0) for prefix in prefixes(key))
