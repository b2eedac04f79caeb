"""The memory of client ids: what was accepted under which key.

A key is sender, channel and ``client_id``. It is remembered until its record has been in
the log for a window of time that was lived through, and longer while the record is not
stored. A UUIDv7 leaves a bound behind when it is forgotten (``log/key_bounds.py``), so that
a retry is not taken for something new: the store is asked.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, NamedTuple

from chatsvc.log.key_bounds import KeyBounds

Key = tuple[str, str, str]

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

    ``listed`` is the id under which the sender is in the heap of oldest keys.
    """

    __slots__ = ("items", "listed", "name", "start")

    def __init__(self, name: str, listed: int) -> None:
        self.name = name
        self.listed = listed
        self.items: list[tuple[int, Key]] = []
        self.start = 0

    def __len__(self) -> int:
        return len(self.items) - self.start

    @property
    def oldest(self) -> int:
        return self.items[self.start][0]

    def pop(self) -> tuple[int, Key]:
        item = self.items[self.start]
        self.start += 1
        if self.start >= _COMPACT_AT and self.start * 2 >= len(self.items):
            del self.items[: self.start]
            self.start = 0
        return item


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
        self._oldest: list[tuple[int, str]] = []  # a heap: the oldest key of each sender
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
        before = len(sender)
        sender.items.append((record_id, key))
        count = before + 1
        if not count & before:  # a power of two: the sender rises by a rank
            self._ranks[before.bit_length()].pop(name, None)
            self._ranks[count.bit_length()][name] = sender
        if count > self._max_keys_per_sender:
            self._over[name] = sender

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
        while oldest and oldest[0][0] <= up_to:
            listed, name = heappop(oldest)
            sender = self._senders.get(name)
            if sender is None or sender.listed != listed:
                continue  # its keys went early
            while left and len(sender) and sender.oldest <= up_to:
                self._pop(sender)
                left -= 1
            if len(sender):
                sender.listed = sender.oldest
                heappush(oldest, (sender.listed, name))
            else:
                del self._senders[name]
                self._over.pop(name, None)
            if not left:
                break
        done = min(up_to, oldest[0][0] - 1) if oldest else up_to
        self.position = max(self.position, done)
        self.forgotten_to = max(self.forgotten_to, self.position)

    def _shorten(self, sender: _Sender, stored: int) -> None:
        """To its bound, as far as what is too much is stored."""
        left = _FORGET_AT_ONCE
        while left and len(sender) > self._max_keys_per_sender and sender.oldest <= stored:
            self._pop_early(sender)
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
                    self._pop_early(sender)
                    break
                rank[sender.name] = rank.pop(sender.name)
            else:
                return

    def _pop_early(self, sender: _Sender) -> None:
        self.forgotten_to = max(self.forgotten_to, sender.oldest)
        if self._pop(sender):
            self.forgotten_early += 1
        if not len(sender):
            self._senders.pop(sender.name, None)
            self._over.pop(sender.name, None)
            if len(self._oldest) > 2 * len(self._senders) + _COMPACT_AT:
                self._list_anew()

    def _pop(self, sender: _Sender) -> bool:
        """Forget a sender's oldest key; whether it was remembered."""
        count = len(sender)
        record_id, key = sender.pop()
        if not count & (count - 1):
            self._ranks[count.bit_length()].pop(sender.name, None)
            if count > 1:
                self._ranks[(count - 1).bit_length()][sender.name] = sender
        known = self._known.get(key)
        if known is None or known.id != record_id:
            return False  # a log may hold a key twice: the later counts
        del self._known[key]
        self.bounds.forgot(sender.name, key[2])
        return True

    def _list_anew(self) -> None:
        self._oldest = []
        for name, sender in self._senders.items():
            sender.listed = sender.oldest
            self._oldest.append((sender.listed, name))
        heapify(self._oldest)

    def __len__(self) -> int:
        return len(self._known)
