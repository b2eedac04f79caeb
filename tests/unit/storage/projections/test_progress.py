"""How far a projection is behind, in positions and in seconds."""

from __future__ import annotations

import pytest

from chatsvc.log.reconcile import Mark
from chatsvc.storage.projections.live_range import LAST_POSITION
from chatsvc.storage.projections.progress import Progress, end_of, progress_from
from testkit.memory_store import MemoryStore
from testkit.records import KINDS, change

SECOND = 1000 << 16


@pytest.mark.parametrize(
    ("progress", "is_behind", "seconds"),
    [
        (Progress(0, 0), False, 0),
        (Progress(9 * SECOND, 9 * SECOND), False, 0),
        (Progress(9 * SECOND + 1, 9 * SECOND), False, 0),
        (Progress(0, 9 * SECOND), True, 0),
        (Progress(0, 9 * SECOND, 9 * SECOND), True, 0),
        (Progress(0, 9 * SECOND, 7 * SECOND + SECOND // 2), True, 1.5),
    ],
)
def test_the_seconds_are_those_of_the_records(
    progress: Progress, is_behind: bool, seconds: float
) -> None:
    assert (progress.is_behind, progress.seconds_behind) == (is_behind, seconds)


async def test_it_is_up_to_the_watermark_and_from_the_oldest_record_above_the_position() -> None:
    store = MemoryStore(kinds=KINDS)
    assert await progress_from(store, 0) == Progress(0, 0)
    await store.write([change(1), change(2), change(3)])
    assert await progress_from(store, 0) == Progress(0, 0), "nothing is known to be whole"
    end = change(2).id
    store.mark = Mark(end, 1, "e", None, "", 0)
    assert await progress_from(store, 0) == Progress(0, end, change(1).id)
    assert await progress_from(store, change(1).id) == Progress(change(1).id, end, end)
    assert await progress_from(store, end) == Progress(end, end)


async def test_no_projection_is_folded_above_63_bits() -> None:
    store = MemoryStore(kinds=KINDS)
    store.mark = Mark(LAST_POSITION + 65, 1, "e", None, "", 0)
    assert await end_of(store) == LAST_POSITION
