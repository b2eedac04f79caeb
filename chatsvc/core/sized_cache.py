"""A cache whose entries together have at most a given size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
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
        self._values: OrderedDict[K, V] = OrderedDict()
        self._sizes: dict[K, int] = {}
        self.get: Callable[[K], V | None] = self._values.get
        """Return the value of a key, ``None`` if it is not here. On the way of every send."""

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._values)

    def discard(self, key: K) -> None:
        """Remove an entry, if it is here."""
        if key in self._values:
            del self._values[key]
            self._size -= self._sizes.pop(key)

    def clear(self) -> None:
        """Remove all entries."""
        self._values.clear()
        self._sizes.clear()
        self._size = 0

    def add(self, key: K, value: V, size: int) -> None:
        """Add an entry, or replace it; the oldest give way."""
        self.discard(key)
        while self._values and self._size + size > self._max_size:
            oldest, _ = self._values.popitem(last=False)
            self._size -= self._sizes.pop(oldest)
        self._values[key] = value
        self._sizes[key] = size
        self._size += size
