"""Group commit: how much is done in one step, and how much is written at once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatsvc.core.errors import Stale
from chatsvc.log.base import MAX_TOGETHER, MAX_TOGETHER_BYTES
from chatsvc.log.group_commit import COMMIT_BYTES, LOOKED_AT
from chatsvc.log.guards import Guard
from testkit.drafts import draft
from tests.unit.support.commit_disk import Disk, turn


@pytest.fixture
async def disk() -> Disk:
    return Disk()


async def test_a_step_looks_at_a_bounded_number_of_appends(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many decisions on one key, made at the same time: one of them holds."""
    steps = [0]
    stale_by, take = disk.touches.stale_by, disk.commit._take

    def counting(guard: Guard) -> int | None:
        steps[-1] += 1
        return stale_by(guard)

    monkeypatch.setattr(disk.touches, "stale_by", counting)
    monkeypatch.setattr(disk.commit, "_take", lambda: steps.append(0) or take())
    first = msgspec.structs.replace(draft(), touches=("k",))
    decided = [disk.commit.append_all([first], Guard(0, ("k",))) for _ in range(5 * LOOKED_AT)]
    plain = disk.commit.append(draft())
    drained = asyncio.ensure_future(disk.commit.drained())
    await turn()
    disk.finish()
    while not plain.done():
        await turn()
        if disk.is_writing:
            disk.finish()
    await asyncio.wait_for(drained, 5)
    await turn()
    assert max(steps) == LOOKED_AT
    assert decided[0].result()
    assert all(isinstance(one.exception(), Stale) for one in decided[1:])
    assert sum(steps) < 6 * LOOKED_AT  # and none of them again and again


LARGE = draft("\U0001f600" * 16_000)
FITTING = MAX_TOGETHER_BYTES // len(LARGE.rest)


@pytest.mark.parametrize("count", [FITTING + 1, MAX_TOGETHER])
async def test_the_bytes_of_an_append_are_bounded(disk: Disk, count: int) -> None:
    size = count * len(LARGE.rest)
    with pytest.raises(ValueError, match=f"at most {MAX_TOGETHER_BYTES} bytes, not {size}"):
        disk.commit.append_all([LARGE] * count)
    assert disk.backlog.total == 0


async def test_a_commit_has_no_more_than_its_bytes_and_one_draft(disk: Disk) -> None:
    futures = [disk.commit.append(LARGE) for _ in range(FITTING)]
    futures += [disk.commit.append_all([LARGE] * FITTING) for _ in range(2)]
    futures += [disk.commit.append(LARGE) for _ in range(3)]
    await turn()
    while disk.is_writing:
        disk.finish()
    assert len(disk.records) == 3 * FITTING + 3
    assert all(
        sum(len(one.rest) for one in batch) < COMMIT_BYTES + len(LARGE.rest)
        for batch in disk.batches
    )
