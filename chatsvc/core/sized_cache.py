"""A cache whose entries together have at most a given size."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SizedCache(Generic[K, V]):
    """Keep the entries that were added last, up to a size of all together.

    Args:
        max_size: the sum of the entries' sizes; one that is larger alone is kept alone.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        # Not a dict: to find its first key takes as long as there are deleted ones before it.
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value of a key, ``None`` if it is not here."""
        found = self._entries.get(key)
        return found[0] if found is not None else None

    def add(self, key: K, value: V, size: int) -> None:
        """Add an entry, or replace it; the oldest give way."""
        replaced = self._entries.pop(key, None)
        if replaced is not None:
            self._size -= replaced[1]
        while self._entries and self._size + size > self._max_size:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._size -= oldest
        self._entries[key] = value, size
        self._size += size
