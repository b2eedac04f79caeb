"""Which client ids may have been forgotten, known from when they were minted.

A UUIDv7 carries the time at which its client made it. A key that is forgotten leaves
that time behind, as the bound of its sender: what the same sender sends under an id
minted later cannot be a retry of it. No clock of the service takes part, and a key is
its sender's alone, so no client's clock moves the bound of another.

Any other string carries no time. It is remembered for a window of time that was lived
through, and then forgotten for good. Only after a loss may one be forgotten before that: so
for a window from then on, all of them are looked up.

Senders are many. The bounds of those with the latest are kept one by one; all others
share one, the latest among them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from chatsvc.core.ids import now_ms, uuid7_ms

AHEAD_MS: Final = 5_000
"""A ``client_id`` minted later than its message was accepted by more than this is listed
by the store as minted ahead; up to this, the message's own id bounds it."""

SENDERS: Final = 8192
"""Bounds kept one by one. The list is cut when it is twice as long."""


NEVER: Final = -1
"""Before everything that can be minted."""


class _Saved(msgspec.Struct, array_like=True):
    """The persisted form, version 1; the rest is what :class:`KeyBounds` has under the name."""

    v: int
    position: int
    shared_ms: int
    past_ms: int
    unmet: bool
    senders: dict[str, int]
    plain_until: float = 0.0
    plain_after: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Saved).decode


class KeyBounds:
    """Latest minted times, in Unix milliseconds, of what may have been forgotten.

    Args:
        saved: what :meth:`save` returned in an earlier run, or ``None``. Unreadable or of a
            newer version counts as ``None``: then :attr:`known` is false.
        clock: the wall clock, asked only while a store is :attr:`unmet`.
        lived: seconds that were lived through; they only go up.
        window_seconds: how long a string that is no UUIDv7 is remembered.
    """

    def __init__(
        self,
        saved: str | None = None,
        *,
        clock: Callable[[], int] = now_ms,
        lived: Callable[[], float] = time.monotonic,
        window_seconds: float = 0.0,
    ) -> None:
        found = _read(saved)
        self.known = found is not None
        """Whether there was an earlier state that could be read."""
        self.position = found.position if found else 0
        """Keys of records up to here were forgotten; above it they are read back."""
        self.unmet = found.unmet if found else False
        """Whether a store that holds an unknown past did not answer yet."""
        self.plain_after = found.plain_after if found else 0
        """Other strings than UUIDv7 that were used up to here are forgotten for good."""
        self._plain_until = found.plain_until if found else 0.0
        self._clock = clock
        self._lived = lived
        self._window_seconds = window_seconds
        self._past_ms = found.past_ms if found else NEVER
        self._shared_ms = found.shared_ms if found else NEVER
        self._senders = found.senders if found else {}

    def forgot(self, sender: str, client_ids: Iterable[str]) -> None:
        """Keys of this sender are not remembered any more."""
        latest = NEVER
        for client_id in client_ids:
            minted_ms = uuid7_ms(client_id)
            if minted_ms is not None and minted_ms > latest:
                latest = minted_ms
        self._raise(sender, latest)

    def covers(self, sender: str, client_id: str) -> bool:
        """Whether this key, if it is not remembered, may have been used.

        Any other string than a UUIDv7 may have been for a window after a loss.
        """
        minted_ms = uuid7_ms(client_id)
        if minted_ms is None:
            return self._plain_until > 0 and self._lived() < self._plain_until
        if minted_ms <= self._shared_ms or minted_ms <= self._past_ms:
            return True
        if minted_ms <= self._senders.get(sender, NEVER):
            return True
        return self.unmet and minted_ms > self._clock() + AHEAD_MS

    def used_above(self, client_id: str) -> int:
        """The position above which the record of an earlier use lies, if there is one."""
        return self.plain_after if uuid7_ms(client_id) is None else 0

    def past_is_unknown(self, newest_ms: int | None, window_start: int = 0) -> None:
        """A store holds, or may hold, what this log does not know.

        Until :meth:`learn_past`, ids minted ahead of the clock are taken to be among it.

        Args:
            newest_ms: when the newest message in the store was accepted, 0 if it is empty;
                ``None`` if the store does not answer: then it may be as new as the clock.
            window_start: what was accepted up to here was a window old.
        """
        self.unmet = True
        if newest_ms != 0:
            self._plain_until = self._lived() + self._window_seconds
            self.plain_after = window_start
        if newest_ms is None:
            self._past_ms = max(self._past_ms, self._clock() + AHEAD_MS)
        elif newest_ms:
            self._past_ms = max(self._past_ms, newest_ms + AHEAD_MS)

    def learn_past(self, bound_ms: int, ahead: Sequence[tuple[str, int]]) -> None:
        """The store tells what it holds.

        Args:
            bound_ms: no sender that is not among those ahead has an id in it that was minted
                later; 0 if it is empty.
            ahead: senders of ids minted later with the latest time of each, the latest
                first; where there are more than :data:`SENDERS`, these and one more.
        """
        self.unmet = False
        self._past_ms = bound_ms or NEVER
        if not bound_ms:
            self._plain_until = 0.0  # nothing is there to be found
        for sender, minted_ms in ahead:
            self._raise(sender, minted_ms)
        if len(ahead) > SENDERS:
            self._shared_ms = max(self._shared_ms, ahead[-1][1])

    def save(self, position: int) -> str:
        """The persisted form: JSON, at most some hundred kilobytes where user ids are short."""
        return _encode(
            _Saved(
                1,
                position,
                self._shared_ms,
                self._past_ms,
                self.unmet,
                self._senders,
                self._plain_until,
                self.plain_after,
            )
        ).decode()

    def _raise(self, sender: str, minted_ms: int) -> None:
        if minted_ms <= self._shared_ms or minted_ms <= self._senders.get(sender, NEVER):
            return
        self._senders[sender] = minted_ms
        if len(self._senders) > 2 * SENDERS:
            self._share()

    def _share(self) -> None:
        """Those with the earliest bounds get one together."""
        latest = sorted(self._senders.items(), key=lambda item: item[1], reverse=True)
        self._shared_ms = max(self._shared_ms, latest[SENDERS][1])
        self._senders = dict(latest[:SENDERS])


def _read(saved: str | None) -> _Saved | None:
    if not saved:
        return None
    try:
        found = _decode(saved)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    return found if found.v == 1 else None
