"""Which records a process folded as it stored them, one batch behind the other."""

from __future__ import annotations

from typing import NamedTuple


class LiveRange(NamedTuple):
    """Everything above ``after`` and up to ``up_to`` was folded.

    A projection that is folded up to ``after`` is folded up to ``up_to`` too.
    """

    after: int
    up_to: int


def extended(live: LiveRange | None, watermark: int, last: int) -> LiveRange:
    """Return the range after a batch.

    A batch begins at the store's watermark or below it. Where that is not the end of the batch
    before, the store was put back, or another process wrote to it.

    Args:
        live: the range before.
        watermark: of the store, before the batch.
        last: the id of its last record.
    """
    after = live.after if live is not None and live.up_to == watermark else watermark
    return LiveRange(after, max(last, watermark))
