"""The memory of client ids: what was accepted under which key.

A key is sender, channel and ``client_id``. It is remembered until its record has been in
the log for a window of time that was lived through, and longer while the record is not
stored. A UUIDv7 leaves a bound behind when it is forgotten (``log/key_bounds.py``), so that
a retry is not taken for something new: the store is asked.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Final, NamedTuple

from chatsvc.core.record import Record
from chatsvc.log.key_bounds import KeyBounds

Key = tuple[str, str, str]
_Item = tuple[int, Key]
"""A record and its key."""

_FORGET_AT_ONCE: Final = 1000
_COMPACT_AT: Final = 64
_LOOK_AT: Final = 16
"""Senders of one rank that are looked at, in one go, for a key that may go early."""


class Known(NamedTuple):
    """What was accepted under a key."""

    id: int
    digest: bytes


class _Sender:
    """Keys of one sender in the order of acceptance, taken off the front.

    ``listed`` is the id under which the sender is in the heap of oldest keys: no higher
    than that of its oldest key.
    """

    __slots__ = ("items", "listed", "name", "start")

    def __init__(self, name: str, listed: int) -> None:
        self.name = name
        self.listed = listed
        self.items: list[_Item] = []
        self.start = 0

    def __len__(self) -> int:
        return len(self.items) - self.start

    @property
    def oldest(self) -> int:
        return self.items[self.start][0]

    def take(self, count: int) -> list[_Item]:
        """The oldest so many, off the front."""
        end = self.start + count
        taken = self.items[self.start : end]
        if end >= _COMPACT_AT and end * 2 >= len(self.items):
            del self.items[:end]
            end = 0
        self.start = end
        return taken


class KeyWindow:
    """Keys of accepted records, each sender's oldest first.

    Args:
        max_keys: how many are kept; beyond it the sender with the most loses its oldest
            stored ones early (the most within a factor of two: senders are ranked so).
        max_keys_per_sender: how many are kept of one sender; beyond it that sender loses
            its own oldest stored ones early.
        bounds: what was forgotten before.
    """

    def __init__(
        self, *, max_keys: int, max_keys_per_sender: int, bounds: KeyBounds | None = None
    ) -> None:
        self._max_keys = max_keys
        self._max_keys_per_sender = max_keys_per_sender
        self.bounds = bounds or KeyBounds()
        self.position = self.bounds.position
        """Keys of all records up to here are forgotten; only early ones above it."""
        self.forgotten_to = self.position
        """The newest record whose key is forgotten, early ones included."""
        self.forgotten_early = 0
        self._known: dict[Key, Known] = {}
        self._senders: dict[str, _Sender] = {}
        self._oldest: list[tuple[int, str]] = []  # a heap: one entry a sender, some out of date
        self._ranks: list[dict[str, _Sender]] = [{} for _ in range(32)]  # by bits of the count
        self._over: dict[str, _Sender] = {}

    def get(self, key: Key) -> Known | None:
        """What was accepted under the key, if it is remembered."""
        return self._known.get(key)

    def may_have_forgotten(self, key: Key) -> bool:
        """Whether a key that is not remembered may have been used before."""
        return self.bounds.covers(key[0], key[2])

    def add(self, key: Key, record_id: int, digest: bytes) -> None:
        """Remember an accepted record's key; ids ascend from call to call."""
        self._known[key] = Known(record_id, digest)
        name = key[0]
        sender = self._senders.get(name)
        if sender is None:
            sender = self._senders[name] = _Sender(name, record_id)
            heappush(self._oldest, (record_id, name))
        items = sender.items
        items.append((record_id, key))
        count = len(items) - sender.start
        if not count & (count - 1):  # a power of two: the sender rises by a rank
            self._ranks[(count - 1).bit_length()].pop(name, None)
            self._ranks[count.bit_length()][name] = sender
        if count > self._max_keys_per_sender:
            self._over[name] = sender

    def add_record(self, record: Record) -> None:
        """Remember an accepted record's keys: its own, and those of the requests it was made of."""
        if record.client_id is not None:
            self.add((record.sender, record.channel, record.client_id), record.id, record.digest)
        for one in record.keys:
            self.add((one.sender, record.channel, one.client_id), record.id, one.digest)

    def forget(self, up_to: int, stored: int) -> None:
        """Forget keys of records up to ``up_to``, and early what is too many.

        Args:
            up_to: the position that is a window old.
            stored: nothing above it is forgotten.

        A bounded amount a call: call again.
        """
        self._forget_old(min(up_to, stored))
        if self._over:
            for sender in list(islice(self._over.values(), _LOOK_AT)):
                self._shorten(sender, stored)
        if len(self._known) > self._max_keys:
            self._shrink(stored)

    def _forget_old(self, up_to: int) -> None:
        oldest = self._oldest
        left = _FORGET_AT_ONCE
        while left and oldest and oldest[0][0] <= up_to:
            listed, name = oldest[0]
            sender = self._senders.get(name)
            if sender is None or sender.listed != listed:
                heappop(oldest)  # its keys went early
                continue
            items, start = sender.items, sender.start
            end, last = start, min(len(items), start + left)
            while end < last and items[end][0] <= up_to:
                end += 1
            left -= end - start
            self._forget(sender, end - start)
            if len(sender):
                sender.listed = sender.oldest
                heapreplace(oldest, (sender.listed, name))
            else:
                heappop(oldest)
        done = min(up_to, oldest[0][0] - 1) if oldest else up_to
        if done > self.position:
            self.position = done
            self.forgotten_to = max(self.forgotten_to, done)

    def _shorten(self, sender: _Sender, stored: int) -> None:
        """To its bound, as far as what is too much is stored."""
        left = _FORGET_AT_ONCE
        while left and len(sender) > self._max_keys_per_sender and sender.oldest <= stored:
            self._forget_early(sender)
            left -= 1
        self._over.pop(sender.name, None)
        if len(sender) > self._max_keys_per_sender:
            self._over[sender.name] = sender  # at the end: the others' turn comes first

    def _shrink(self, stored: int) -> None:
        """To the bound of all, at the cost of who has the most.

        Where none of those has a stored key, nothing goes: what is not stored is bounded by
        the backlog, and the others are not to pay for it.
        """
        for _ in range(_FORGET_AT_ONCE):
            rank = next((rank for rank in reversed(self._ranks) if rank), None)
            if rank is None or len(self._known) <= self._max_keys:
                return
            for sender in list(islice(rank.values(), _LOOK_AT)):
                if sender.oldest <= stored:
                    self._forget_early(sender)
                    break
                rank[sender.name] = rank.pop(sender.name)
            else:
                return

    def _forget_early(self, sender: _Sender) -> None:
        self.forgotten_to = max(self.forgotten_to, sender.oldest)
        self.forgotten_early += self._forget(sender, 1)
        if len(self._oldest) > 2 * len(self._senders) + _COMPACT_AT:
            self._oldest = [(one.listed, one.name) for one in self._senders.values()]
            heapify(self._oldest)

    def _forget(self, sender: _Sender, count: int) -> int:
        """Forget so many of a sender's oldest; how many of them were remembered."""
        forgotten: list[str] = []
        before = len(sender)
        known = self._known
        for record_id, key in sender.take(count):
            found = known.get(key)
            if found is not None and found.id == record_id:  # a log may hold a key twice
                del known[key]
                forgotten.append(key[2])
        if forgotten:
            self.bounds.forgot(sender.name, forgotten)
        after = before - count
        if before.bit_length() != after.bit_length():
            del self._ranks[before.bit_length()][sender.name]
            if after:
                self._ranks[after.bit_length()][sender.name] = sender
        if not after:
            del self._senders[sender.name]
            self._over.pop(sender.name, None)
        return len(forgotten)

    def __len__(self) -> int:
        return len(self._known)
