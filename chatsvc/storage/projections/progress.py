"""How far the rows of a projection are behind what their store has."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from chatsvc.core.ids import id_ms
from chatsvc.storage.ports.projections import RecordScan
from chatsvc.storage.ports.watermark import StoreWatermark
from chatsvc.storage.projections.live_range import LAST_POSITION


class Progress(NamedTuple):
    """How far a projection is.

    Args:
        position: everything up to it is folded.
        watermark: up to here it is to be folded: the store's watermark.
        oldest: the id of the oldest record between the two; ``None``: there is none.
    """

    position: int
    watermark: int
    oldest: int | None = None

    @property
    def is_behind(self) -> bool:
        """Whether it is being built."""
        return self.position < self.watermark

    @property
    def seconds_behind(self) -> float:
        """The time between the oldest record that is not folded and the watermark."""
        if self.oldest is None:
            return 0.0
        return max(0, id_ms(self.watermark) - id_ms(self.oldest)) / 1000


class Scanned(RecordScan, StoreWatermark, Protocol):
    """A store, as far as it is looked at here."""


async def end_of(store: StoreWatermark) -> int:
    """The position up to which the projections of a store are to be folded.

    Raises:
        StoreUnavailable: it does not answer.
    """
    mark = await store.watermark()
    return min(mark.position, LAST_POSITION) if mark is not None else 0


async def progress_from(store: Scanned, position: int) -> Progress:
    """How far a projection is that is folded up to a position.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    end = await end_of(store)
    records = await store.scan(position, end, 1, 1) if position < end else ()
    return Progress(position, end, records[0].id if records else None)
