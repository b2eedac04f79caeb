"""Guards: an append counts only if what its decision read is still as it was.

A record names the keys of the state that it changes (``touches``); a decision names the keys
that it read and the position to which all of that was folded (:class:`Guard`). It is stale if
one of its keys was touched above that position.

Whether it is, is found where a commit is put together (``log/group_commit.py``), on the loop,
in the step that fixes the order of its records. Only one commit is being written at a time, and
what became of it is known when the next is put together. So there are touches of two sorts:

* those of records that are durable, each at its id;
* those of the commit that is put together, or being written. Their ids will be above the
  position of every decision that was made by now. They may be taken back, where the commit fails:
  so what meets one of them is neither stale nor accepted, but looked at again with the next
  commit.

What a store has seen that the log has not is not known by its keys: a decision as of a position
below that is stale, whatever its keys are. So is one that is older than what is remembered.

Names of keys: ``m/<channel>/<user>``, ``r/<channel>``, ``s/<channel>``, ``p/<a>,<b>``,
``u/<user>``; here they are any strings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from chatsvc.core.record import Draft, Record

MAX_KEYS: Final = 65_536
"""How many touched keys are kept at most once their records are stored: 12 MB of short ones."""
MAX_HELD_KEYS: Final = 4 * MAX_KEYS
"""The same while a projection is behind what is stored: 48 MB of short ones."""
FORGET_AT_ONCE: Final = 4096
"""How many keys are dropped in one call: a millisecond or two of the loop."""


class Guard(NamedTuple):
    """What a decision read: keys, and the lowest position to which any of it was folded."""

    as_of: int
    keys: tuple[str, ...]


class Touches:
    """Which keys were touched last by which record.

    Args:
        forgotten: the highest touch that is not known here: at a start the tail's head, so that
            a decision as of the head is not stale.
        max_keys: how many keys are kept of records that are stored.
        max_held_keys: the same of those that are held.
    """

    def __init__(
        self, forgotten: int, max_keys: int = MAX_KEYS, max_held_keys: int = MAX_HELD_KEYS
    ) -> None:
        self.forgotten = forgotten
        """The highest touch that is not known any more, or never was."""
        self._max_keys = max_keys
        self._max_held_keys = max_held_keys
        self._held_above: int | None = None
        self._last: OrderedDict[str, int] = OrderedDict()  # the last touched at the end
        self._undecided: set[str] = set()

    def stale_by(self, guard: Guard) -> int | None:
        """Return the id of the touch that makes a decision stale; ``None``: it is not."""
        if guard.as_of < self.forgotten:
            return self.forgotten
        last = self._last
        newest = max((last.get(key, 0) for key in guard.keys), default=0)
        return newest if newest > guard.as_of else None

    def are_undecided(self, keys: Iterable[str]) -> bool:
        """Whether a record that is not durable yet touches one of these keys."""
        return not self._undecided.isdisjoint(keys)

    def may_have_missed(self, up_to: int) -> None:
        """Up to here keys may have been touched that are not known here."""
        self.forgotten = max(self.forgotten, up_to)

    def begin(self, drafts: Iterable[Draft]) -> None:
        """Take in drafts of the commit that is put together: all of them, or it raises."""
        self._undecided |= {key for draft in drafts for key in draft.touches}

    def settle(self, records: Sequence[Record]) -> None:
        """The commit is decided: these of its records are durable, and the others are none."""
        self._undecided.clear()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """A record is durable that touches keys."""
        last = self._last
        for key in record.touches:
            if record.id > last.get(key, 0):
                last[key] = record.id
                last.move_to_end(key)

    def hold(self, above: int | None) -> None:
        """Hold the keys that were touched above a position, up to their own bound; ``None``: none.

        Beyond that bound the oldest of them go, too: what is decided as of a position below is
        stale then, whatever its keys are.
        """
        self._held_above = above

    def forget(self, stored: int) -> None:
        """Drop the keys beyond the bound that were touched the longest ago.

        None that was touched above ``stored``: what was decided from a store that is folded to
        there must be found stale for it, and not for its age. And none that is held.

        A bounded number a call: call again.
        """
        last = self._last
        for _ in range(min(len(last) - self._max_keys, FORGET_AT_ONCE)):
            key, touched = next(iter(last.items()))
            if touched > stored or self._is_held(touched):
                return
            del last[key]
            self.may_have_missed(touched)

    def _is_held(self, touched: int) -> bool:
        above = self._held_above
        return above is not None and touched > above and len(self._last) <= self._max_held_keys

    def __len__(self) -> int:
        """How many keys are known."""
        return len(self._last)
