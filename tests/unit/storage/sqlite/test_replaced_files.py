"""Files of the embedded store that are removed, replaced or opened halfway."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import record, records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, busy_seconds=0.05)
    await store.open()
    yield store
    await store.close()


async def test_a_file_that_is_replaced_is_refused_until_it_is_opened(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    await store.write(records(3))
    identity = await store.identity()
    other = SqliteStore(tmp_path / "other" / "store.db")
    await other.open()
    await other.write(records(1, first=9))
    another = await other.identity()
    await other.close()
    path.rename(tmp_path / "old.db")
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    for call in (store.write(records(1, first=4)), store.ping(), store.user_page("bob", Bounds(1))):
        with pytest.raises(StoreUnavailable, match="was removed") as raised:
            await call
        assert raised.value.code == "store_file_missing"
    with pytest.raises(StoreUnavailable, match="was removed"):
        await store.open()
    assert not path.exists(), "an empty one in its place would hide that the messages are gone"
    (tmp_path / "other" / "store.db").rename(path)
    await store.open()
    assert (await store.identity(), identity != another) == (another, True)
    assert await store.head() == record(9).id
    assert await store.write(records(1, first=10)) == []


async def test_a_file_that_is_replaced_before_a_stop_is_whole_at_the_next_start(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    """As by an operator who puts a copy in its place, and restarts the service."""
    await store.write(records(2))
    copied = sqlite3.connect(tmp_path / "copy.db")
    with sqlite3.connect(path) as source:
        source.backup(copied)
    source.close()
    copied.close()
    await store.write(records(9, first=3, to=("alice", "carol")))
    (tmp_path / "copy.db").rename(path)
    await store.close()
    again = SqliteStore(path)
    await again.open()
    assert await again.head() == record(2).id
    assert len(await again.user_page("alice", Bounds(99))) == 2
    await again.close()


async def test_a_file_that_comes_back_needs_no_second_opening(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    await store.write(records(3))
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        await store.ping()
    (tmp_path / "elsewhere").rename(path)
    await store.ping()
    assert await store.write(records(1, first=4)) == []


async def test_a_file_that_comes_back_after_it_was_missed_can_be_opened(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    await store.write(records(3))
    moved = [path, *(Path(f"{path}{end}") for end in ("-wal", "-shm"))]
    for one in moved:
        one.rename(tmp_path / f"elsewhere-{one.name}")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="was removed"):
            await store.open()
    for one in moved:
        found = tmp_path / f"elsewhere-{one.name}"
        if found.exists():  # the last to close it takes its write-ahead log along
            found.rename(one)
    await store.open()
    assert await store.write(records(1, first=4)) == []
    assert len(await store.channel_page("alice,bob", Bounds(10))) == 4


async def test_one_that_could_not_be_opened_whole_is_not_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    connect = SqliteStore._connect_reader
    fails = [sqlite3.OperationalError("no more files")]

    def once(self: SqliteStore) -> sqlite3.Connection:
        if fails:
            raise fails.pop()
        return connect(self)

    monkeypatch.setattr(SqliteStore, "_connect_reader", once)
    with pytest.raises(StoreUnavailable, match="no more files"):
        await store.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.write(records(1))
    await store.open()
    assert await store.write(records(1)) == []
    await store.close()
