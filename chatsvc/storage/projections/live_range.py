"""Which records a process folded as it stored them, one batch behind the other."""

from __future__ import annotations

from typing import Final, NamedTuple

LAST_POSITION: Final = (1 << 63) - 1
"""Columns of integers have 63 bits, ids 64: none above it is folded."""


class LiveRange(NamedTuple):
    """Everything above ``after`` and up to ``up_to`` was folded.

    A projection that is folded up to ``after`` is folded up to ``up_to`` too.
    """

    after: int
    up_to: int


def extended(live: LiveRange | None, begin: int, last: int) -> LiveRange:
    """Return the range after a batch.

    Where it does not begin at the end of the batch before, the store was put back, or another
    process wrote to it.

    Args:
        live: the range before.
        begin: the store has nothing between it and the batch: its watermark, or what it has above
            that and below the batch. So it is where nobody set a watermark yet.
        last: the id of the batch's last record.
    """
    begin = min(begin, LAST_POSITION)
    after = live.after if live is not None and live.up_to == begin else begin
    return LiveRange(after, min(max(last, begin), LAST_POSITION))


def begins_at_once(live: LiveRange | None, watermark: int, first: int) -> bool:
    """Whether a batch is known to begin at the store's watermark, or below it.

    Args:
        live: the range before.
        watermark: of the store, before the batch.
        first: the id of the batch's first record.
    """
    return first <= watermark or (live is not None and live.up_to == watermark)
