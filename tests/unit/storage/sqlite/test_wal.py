"""The store's write-ahead log is cut back after a burst."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.sqlite.wal import WalShrinker, truncate
from testkit.records import records
from testkit.waiting import until

LIMIT = 300_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    store._shrinker = WalShrinker(
        tmp_path / "store.db", store._writer.run, limit=LIMIT, first_pause=0.01
    )
    await store.open()
    yield store
    await store.close()


def size(folder: Path) -> int:
    return (folder / "store.db-wal").stat().st_size


def reading(folder: Path) -> sqlite3.Connection:
    """As a query that takes long."""
    db = sqlite3.connect(folder / "store.db", isolation_level=None)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM messages").fetchone()
    return db


async def test_after_a_burst_it_is_small_again(store: SqliteStore, tmp_path: Path) -> None:
    reader = reading(tmp_path)
    for first in range(1, 41, 10):
        await store.write(records(10, first=first, content="x" * 9000))
    assert size(tmp_path) > LIMIT
    reader.close()
    with capture_logs() as lines:
        await until(lambda: size(tmp_path) == 0)
        await until(lambda: lines)
    assert [line["event"] for line in lines] == ["store_wal_cut_back"]
    assert lines[0]["before_bytes"] > LIMIT
    assert len(await store.channel_page("alice,bob", Bounds(100))) == 40
    await store.write(records(10, first=41))


async def test_readers_that_overlap_do_not_keep_it_large(
    store: SqliteStore, tmp_path: Path
) -> None:
    stopped = False

    async def read() -> None:
        while not stopped:
            await store.channel_page("alice,bob", Bounds(100))

    readers = [asyncio.ensure_future(read()) for _ in range(3)]
    for first in range(1, 81, 10):
        await store.write(records(10, first=first, content="x" * 9000))
    await until(lambda: size(tmp_path) <= LIMIT)
    stopped = True
    await asyncio.gather(*readers)


async def test_while_somebody_reads_it_is_tried_again_and_nothing_hangs(
    store: SqliteStore, tmp_path: Path
) -> None:
    tries = 0
    run = store._writer.run

    async def counted(work: Callable[[sqlite3.Connection], bool]) -> bool:
        nonlocal tries
        tries += 1
        return await run(work)

    store._shrinker._run = counted
    reader = reading(tmp_path)
    await store.write(records(80, content="x" * 9000))
    await until(lambda: tries >= 2)
    await store.write(records(1, first=81))
    reader.close()
    await until(lambda: size(tmp_path) <= LIMIT)


async def test_a_failure_ends_it_until_the_next_write(tmp_path: Path) -> None:
    outcomes: list[bool | Exception] = [StoreUnavailable("not now"), True]
    wal = tmp_path / "x.db-wal"
    wal.write_bytes(b"x" * 100)

    async def run(work: object) -> bool:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        wal.write_bytes(b"")
        return outcome

    shrinker = WalShrinker(tmp_path / "x.db", run, limit=50, first_pause=0.001)
    with capture_logs() as lines:
        shrinker.after_write()
        shrinker.after_write()
        await until(lambda: shrinker._task is None)
        shrinker.after_write()
        await until(lambda: not outcomes and shrinker._task is None)
        shrinker.after_write()
    assert [line["event"] for line in lines] == ["store_wal_not_cut_back", "store_wal_cut_back"]
    wal.unlink()
    shrinker.after_write()
    assert shrinker._task is None
    await shrinker.stop()


def test_the_patience_of_writes_is_as_it_was(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x.db", timeout=1.5, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    assert truncate(db)
    assert db.execute("PRAGMA busy_timeout").fetchone()[0] == 1500
    db.close()
