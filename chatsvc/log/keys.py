"""The memory of ``client_id``\\ s: what was accepted under which key.

A key is sender, channel and ``client_id``. It is remembered for a window of time, and
longer while its record is not stored: whoever retries a key that was forgotten can
then be answered by the store, if the key carries its own age (UUIDv7).
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from chatsvc.core.ids import id_ms, uuid7_ms

Key = tuple[str, str, str]

SKEW_MS: Final = 120_000
"""How much longer than the window keys are kept: a client's clock may run ahead by as
much, and its UUIDv7 then looks younger than the record that it names."""
_FORGET_AT_ONCE: Final = 1000


class Known(NamedTuple):
    """What was accepted under a key."""

    id: int
    digest: bytes


class KeyWindow:
    """Keys of accepted records, oldest first.

    Args:
        window_ms: how long a key is remembered at least.
        most: how many keys are kept; beyond it the oldest that are stored go early.
        since_ms: keys of records accepted earlier than this were never known.
    """

    def __init__(self, *, window_ms: int, most: int, since_ms: int) -> None:
        self._window_ms = window_ms
        self._most = most
        self._since_ms = since_ms
        self._known: dict[Key, Known] = {}
        self._order: deque[tuple[int, int, Key]] = deque()  # due (Unix ms), id, key
        self.forgotten_early = 0

    def since_ms(self, now_ms: int) -> int:
        """Every key accepted from here on is remembered."""
        return max(self._since_ms, now_ms - self._window_ms)

    def begin_anew(self, now_ms: int) -> None:
        """A new life of the log: whatever was accepted before now may not be known here."""
        self._since_ms = max(self._since_ms, now_ms)

    def get(self, key: Key) -> Known | None:
        """What was accepted under the key, if it is remembered."""
        return self._known.get(key)

    def add(self, key: Key, record_id: int, digest: bytes) -> None:
        """Remember an accepted record's key."""
        self._known[key] = Known(record_id, digest)
        self._order.append((id_ms(record_id), record_id, key))

    def forget(self, now_ms: int, watermark: int) -> None:
        """Let go of what is past the window and stored; a bounded amount a call."""
        horizon = now_ms - self._window_ms - SKEW_MS
        for _ in range(_FORGET_AT_ONCE):
            if not self._order:
                return
            due_ms, record_id, key = self._order[0]
            early = len(self._order) > self._most
            if due_ms >= horizon and not early:
                return
            known = self._known.get(key)
            if known is None or known.id != record_id:
                self._order.popleft()  # a log read back may hold a key twice: the later counts
                continue
            if record_id > watermark:
                return
            self._order.popleft()
            minted_ms = uuid7_ms(key[2])
            if not early and minted_ms is not None and minted_ms >= horizon:
                # Minted by a clock far ahead: forgotten now, it would look fresh later.
                due_ms = min(minted_ms, now_ms + self._window_ms)
                self._order.append((due_ms, record_id, key))
                continue
            if due_ms >= horizon:
                self.forgotten_early += 1
                # By whichever clock it looks younger: a retry must then be looked up.
                age_ms = max(due_ms, min(minted_ms or 0, now_ms + self._window_ms))
                self._since_ms = max(self._since_ms, age_ms + 1)
            del self._known[key]

    def __len__(self) -> int:
        return len(self._known)
