"""When the write-ahead log is cut back, and how long it is tried."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.storage.sqlite.wal import WAL_BYTES, WalShrinker
from tests.unit.support.virtual_time import in_virtual_time, passed


class Wal:
    """A write-ahead log of so many bytes, and when it was tried to cut it back."""

    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / "x.db"
        self.tries: list[float] = []
        self.shrinks_to: int | None = None
        self.resize(size)

    def resize(self, size: int) -> None:
        self.path.with_name("x.db-wal").write_bytes(b"x" * size)

    async def run(self, work: object) -> bool:
        self.tries.append(passed())
        if self.shrinks_to is not None:
            self.resize(self.shrinks_to)
        return self.shrinks_to is not None


@in_virtual_time
async def test_pauses_grow_to_half_a_minute(tmp_path: Path) -> None:
    wal = Wal(tmp_path, 51)
    shrinker = WalShrinker(wal.path, wal.run, limit=50)
    shrinker.after_write()
    await asyncio.sleep(120)
    assert wal.tries == pytest.approx([0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5])
    assert "shrink wal" in {task.get_name() for task in asyncio.all_tasks()}
    await shrinker.stop()
    assert "shrink wal" not in {task.get_name() for task in asyncio.all_tasks()}
    await asyncio.sleep(120)
    assert len(wal.tries) == 8
    await shrinker.stop()


@pytest.mark.parametrize(("size", "tries"), [(50, 0), (51, 1)])
@in_virtual_time
async def test_it_may_be_as_large_as_its_limit(tmp_path: Path, size: int, tries: int) -> None:
    wal = Wal(tmp_path, size)
    wal.shrinks_to = 50
    shrinker = WalShrinker(wal.path, wal.run, limit=50)
    with capture_logs() as lines:
        shrinker.after_write()
        await asyncio.sleep(60)
    assert len(wal.tries) == tries
    told = [(line["before_bytes"], line["after_bytes"]) for line in lines]
    assert told == [(51, 50)] * tries
    assert "shrink wal" not in {task.get_name() for task in asyncio.all_tasks()}


@in_virtual_time
async def test_one_that_is_not_there_has_no_bytes(tmp_path: Path) -> None:
    wal = Wal(tmp_path, 0)
    shrinker = WalShrinker(tmp_path / "another.db", wal.run, limit=0)
    shrinker.after_write()
    await asyncio.sleep(60)
    assert wal.tries == []
    assert WAL_BYTES == 32 * 1024 * 1024
