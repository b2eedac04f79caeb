"""What is accepted and not yet stored, by sender, and how much of it each may hold.

Costs are bytes of memory as they were measured, not as they were sent: a message to 255 new
people takes 66 KB, and the same again to the same people 7 KB. What waits for its commit
counts from the moment it is taken in.

The rule: while half of the bound is free anybody may use it. Beyond that no sender may hold
more than a small share (:func:`share_of`), so that the other half has room for
``limit / 2 / share`` senders, whatever any of them does. At the default of 512 MiB the share
is 1 MiB, and fewer than 256 senders together cannot make another's send fail.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from chatsvc.core.audience import names_readers
from chatsvc.core.errors import LogUnavailable, TooManyRequests
from chatsvc.core.record import Draft, Record

LIST_BYTES: Final = 210
"""Bytes of memory of a list with one entry and its place in the table of lists, as measured."""

_SHARES: Final = 512
_MIN_SHARE: Final = 1024 * 1024
_RETRY_SECONDS: Final = 2.0


def audience_bytes(channel: str, audience: tuple[str, ...]) -> int:
    """Bytes of memory of a conversation's key and names."""
    return sys.getsizeof(channel) + sys.getsizeof(audience) + sum(map(sys.getsizeof, audience))


def lists_bytes(draft: Draft) -> int:
    """What the lists take at most that a draft of an unlisted channel will begin.

    One of a group or a room that names readers may begin theirs, listed or not.
    """
    if names_readers(draft.channel, draft.audience):
        return LIST_BYTES * len(draft.audience)
    return LIST_BYTES * (len(draft.audience) + 1) + audience_bytes(draft.channel, draft.audience)


def share_of(limit: int) -> int:
    """What one sender may hold, in bytes, while more than half of ``limit`` is used."""
    return max(limit // _SHARES, min(_MIN_SHARE, limit // 16))


class Backlog:
    """Bytes by sender. ``total`` is their sum."""

    def __init__(self) -> None:
        self.total = 0
        self._by_sender: dict[str, int] = {}

    def held_by(self, sender: str) -> int:
        """Bytes of this sender's."""
        return self._by_sender.get(sender, 0)

    def add(self, sender: str, size: int) -> None:
        """Count ``size`` bytes more; or fewer, to correct what was added before."""
        self.total += size
        by_sender = self._by_sender
        by_sender[sender] = by_sender.get(sender, 0) + size

    def release(self, sender: str, size: int) -> None:
        """Count ``size`` bytes less that were added before."""
        self.total -= size
        rest = self._by_sender[sender] - size
        if rest:
            self._by_sender[sender] = rest
        else:
            del self._by_sender[sender]

    def release_records(self, records: Iterable[Record], sizes: Iterable[int]) -> None:
        """Release each record's size: as :meth:`release`, without a call for each."""
        by_sender = self._by_sender
        released = 0
        for record, size in zip(records, sizes, strict=True):
            released += size
            rest = by_sender[record.sender] - size
            if rest:
                by_sender[record.sender] = rest
            else:
                del by_sender[record.sender]
        self.total -= released

    def __len__(self) -> int:
        """How many senders have something in it."""
        return len(self._by_sender)


class FairShare:
    """Who may add to a backlog.

    Args:
        backlog: what is held.
        limit: the bound of all of it, in bytes.
    """

    def __init__(self, backlog: Backlog, limit: int) -> None:
        self._backlog = backlog
        self._limit = limit
        self.free_for_all = limit // 2
        """Up to here anybody may add."""
        self._share = share_of(limit)
        self.refused = 0
        """Sends refused because their sender's share was used up."""

    def check(self, sender: str, size: int) -> None:
        """Whether this sender may add ``size`` bytes.

        Raises:
            TooManyRequests: ``sender_backlog_full``: the sender's share is used up.
            LogUnavailable: ``backlog_full``: there is no room for anybody.
        """
        after = self._backlog.total + size
        if after <= self.free_for_all:
            return
        held = self._backlog.held_by(sender)
        # The first message of a sender may be larger than a share.
        if held and held + size > self._share:
            self.refused += 1
            raise TooManyRequests(
                "too many of your messages are waiting to be stored: the sender's unstored "
                f"messages must not take more than {self._share} bytes while the service is behind",
                code="sender_backlog_full",
                retry_after=_RETRY_SECONDS,
            )
        if after > self._limit:
            raise _full()

    def check_capacity(self) -> None:
        """Check that there is room for a sender of whom nothing waits.

        Raises:
            LogUnavailable: there is none: from here on the first sends are refused.
        """
        if self._backlog.total + self._share > self._limit:
            raise _full()


def _full() -> LogUnavailable:
    return LogUnavailable(
        "too much is waiting to be stored", code="backlog_full", retry_after=_RETRY_SECONDS
    )
