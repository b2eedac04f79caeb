"""Group commit where an append cannot be looked at or written: the others are not to notice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from chatsvc.core.errors import LogUnavailable, Stale
from chatsvc.core.record import Draft
from chatsvc.log.group_commit import Done
from chatsvc.log.guards import Guard
from testkit.drafts import draft
from tests.unit.support.commit_disk import Disk, turn
from tests.unit.support.local_logs import NOTHING, Open


class PickyDisk(Disk):
    """Cannot begin a write that has a draft which touches ``bad``."""

    def write(self, drafts: list[Draft], done: Done) -> None:
        if any("bad" in one.touches for one in drafts):
            raise ValueError("this cannot be written")
        super().write(drafts, done)


@pytest.fixture
async def disk() -> Disk:
    return PickyDisk()


def touching(*keys: Any, content: str = "x") -> Draft:
    return msgspec.structs.replace(draft(content), touches=keys)


def unusable() -> Guard:
    return Guard(0, (["k"],))  # type: ignore[arg-type]


async def finish_all(disk: Disk) -> None:
    await turn()
    while disk.is_writing:
        disk.finish()
        await turn()


async def test_what_cannot_be_written_refuses_no_other(disk: Disk) -> None:
    good = [disk.commit.append(draft(str(at))) for at in range(2)]
    bad = disk.commit.append_all([draft("first"), touching("bad")])
    good += [disk.commit.append(draft(str(at))) for at in range(2, 4)]
    await finish_all(disk)
    kept = [one.result().id for one in good]
    assert kept == sorted(kept)
    assert isinstance(bad.exception(), LogUnavailable)
    assert (disk.backlog.total, len(disk.records)) == (sum(disk.sizes), 4)


async def test_commits_are_shared_again_behind_what_cannot_be_written(disk: Disk) -> None:
    first = [disk.commit.append(draft("a")), disk.commit.append(touching("bad"))]
    await turn()
    later = [disk.commit.append(draft(str(at))) for at in range(3)]
    await finish_all(disk)
    await asyncio.wait([*first, *later])
    assert isinstance(first[1].exception(), LogUnavailable)
    assert [len(batch) for batch in disk.batches] == [1, 3]


async def test_what_waited_for_it_is_decided_without_it(disk: Disk) -> None:
    bad = disk.commit.append(touching("bad", "k"))
    waited = disk.commit.append_all([touching("k")], Guard(0, ("k",)))
    again = disk.commit.append_all([draft()], Guard(0, ("k",)))
    await finish_all(disk)
    assert isinstance(bad.exception(), LogUnavailable)
    assert waited.result()
    assert isinstance(again.exception(), Stale)


async def test_a_guard_that_cannot_be_looked_up_refuses_its_append_alone(disk: Disk) -> None:
    first = disk.commit.append(draft("first"))
    await turn()
    bad = disk.commit.append_all([draft("bad")], unusable())
    second = disk.commit.append(draft("second"))
    await finish_all(disk)
    assert first.result().id < second.result().id
    assert isinstance(bad.exception(), LogUnavailable)
    assert disk.backlog.total == sum(disk.sizes)


async def test_a_touch_that_cannot_be_kept_leaves_none_of_its_others(disk: Disk) -> None:
    bad = disk.commit.append_all([touching("k"), touching(["no key"])])
    guarded = disk.commit.append_all([draft()], Guard(0, ("k",)))
    await finish_all(disk)
    assert isinstance(bad.exception(), LogUnavailable)
    assert guarded.result()


async def test_drained_waits_for_what_is_behind_an_append_that_cannot_be_looked_at(
    disk: Disk,
) -> None:
    bad = disk.commit.append_all([draft()], unusable())
    drained = asyncio.ensure_future(disk.commit.drained())
    await asyncio.wait_for(drained, 5)
    assert isinstance(bad.exception(), LogUnavailable)


async def test_a_log_writes_all_but_what_it_cannot_encode(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    good = [log.append(draft(str(at))) for at in range(3)]
    bad = log.append(touching("u/\ud800"))
    results = await asyncio.gather(*good, bad, return_exceptions=True)
    assert isinstance(results.pop(), LogUnavailable)
    assert [one.id for one in log.tail.batch(0, 9, 1 << 20)] == [one.id for one in results]
