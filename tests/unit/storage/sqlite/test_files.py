"""The embedded store's folder, threads and connections, and how it opens and closes."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.storage.sqlite.store import SqliteStore
from testkit.records import record, records
from testkit.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "of" / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


@pytest.mark.usefixtures("store")
async def test_its_folders_are_made_and_the_last_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_another_process_is_waited_for_two_seconds(store: SqliteStore) -> None:
    def patience(db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA busy_timeout").fetchone()[0])

    for threads in (store._writer, store._reader, store._history):
        assert await threads.run(patience) == 2000


async def test_another_process_is_waited_for_as_long_as_was_said(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0.25)
    await store.open()
    patience = await store._writer.run(lambda db: db.execute("PRAGMA busy_timeout").fetchone()[0])
    assert patience == 250
    await store.close()


async def test_opening_is_tried_as_long_as_was_said(path: Path) -> None:
    path.parent.mkdir(parents=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store = SqliteStore(path, busy_seconds=0.01, open_seconds=0.05)
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.open(), 5)  # ten seconds are the default
    other.close()
    await store.close()


async def test_threads_are_named_for_what_they_do_and_history_has_three(
    store: SqliteStore,
) -> None:
    go_on, together = threading.Event(), threading.Barrier(3)

    def name(db: sqlite3.Connection) -> str:
        return threading.current_thread().name

    def hold(db: sqlite3.Connection) -> str:
        go_on.wait(20)
        together.wait(20)
        return name(db)

    kinds = {"store-write": store._writer, "store-read": store._reader}
    reads = [asyncio.ensure_future(store._history.run(hold)) for _ in range(6)]
    others = [asyncio.ensure_future(threads.run(name)) for threads in kinds.values()]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*others) == [f"{kind}_0" for kind in kinds]
    assert set(await asyncio.gather(*reads)) == {f"store-history_{number}" for number in range(3)}


async def test_its_write_ahead_log_is_cut_back_by_its_writer(
    store: SqliteStore, path: Path
) -> None:
    store._shrinker._limit = 1
    store._shrinker._first_pause = 0.001
    with capture_logs() as lines:
        await store.write(records(1))
        await until(lambda: lines)
    assert [line["event"] for line in lines] == ["store_wal_cut_back"]
    assert path.with_name("store.db-wal").stat().st_size == 0


async def test_closed_it_stays_closed(store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await store.open()


async def test_a_file_without_its_tables_does_not_answer(store: SqliteStore) -> None:
    await store._writer.run(lambda db: db.execute("DELETE FROM meta WHERE name = 'identity'"))
    with pytest.raises(StoreUnavailable, match="lost its name"):
        await store.identity()
    await store._writer.run(lambda db: db.execute("DROP TABLE meta"))
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        await store.ping()


async def test_a_file_that_cannot_be_looked_at_is_said_to_be(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(store._place, "find_error", fail)
    with pytest.raises(StoreUnavailable, match="cannot be looked at: not yours"):
        await store.ping()
    monkeypatch.undo()
    path.unlink()
    with pytest.raises(StoreUnavailable, match="the store's file: ") as raised:
        await store.ping()
    assert raised.value.code == "store_file_missing"
    assert str(path) in str(raised.value)


async def test_what_is_asked_while_it_opens_is_answered_or_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    answers: list[str] = []
    open_history = store._history.open

    async def open_late(make: Callable[[], sqlite3.Connection]) -> None:
        answers.append(await store.identity())
        await open_history(make)

    monkeypatch.setattr(store._history, "open", open_late)
    await store.open()
    assert answers == [await store.identity()]
    await store.close()


async def test_a_replaced_file_that_could_not_be_opened_is_opened_later(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SqliteStore(path.with_name("other.db"))
    await other.open()
    await other.write([record(7)])
    await other.close()
    path.with_name("other.db").rename(path)

    async def fail(*_: Any) -> None:
        raise StoreUnavailable("not now")

    with monkeypatch.context() as patch:
        patch.setattr(store._reader, "open", fail)
        with pytest.raises(StoreUnavailable, match="not now"):
            await store.open()
    await store.open()
    assert await store.head() == record(7).id


async def test_a_file_that_its_readers_cannot_read_is_not_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(db: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    store = SqliteStore(path, open_seconds=0.01)
    with monkeypatch.context() as patch:
        patch.setattr("chatsvc.storage.sqlite.connection.found_version", fail)
        with pytest.raises(StoreUnavailable, match="disk I/O error"):
            await store.open()
    await store.open()
    assert await store.write(records(1)) == []
    await store.close()


async def test_of_two_records_the_one_that_sqlite_cannot_hold_is_found(store: SqliteStore) -> None:
    bad = msgspec.structs.replace(
        record(1),
        channel="alice,alice",
        audience=("alice", "alice"),
        body=b'{"participants":["alice","alice"]}',
    )
    rejections = await store.write([bad, record(2)])
    assert [(one.record, one.code) for one in rejections] == [(bad, "unfit")]
    assert await store.head() == record(2).id
