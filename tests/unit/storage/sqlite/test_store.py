"""What is the embedded store's own: its file, its threads, its versions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage.ports.dead_letters import DeadLetter
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


def pragma(db: sqlite3.Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


async def test_what_is_stored_has_been_through_fsync(store: SqliteStore) -> None:
    writer = store._writer
    assert await writer.run(lambda db: pragma(db, "synchronous")) == 2  # FULL
    assert await writer.run(lambda db: pragma(db, "journal_mode")) == "wal"


async def test_a_reader_does_not_wait_for_a_batch(store: SqliteStore) -> None:
    await store.write(records(3))
    begun, go_on = threading.Event(), threading.Event()

    def hold(db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM messages")
        begun.set()
        go_on.wait(20)
        db.execute("ROLLBACK")

    writing = asyncio.ensure_future(store._writer.run(hold))
    await asyncio.to_thread(begun.wait, 20)
    found = await asyncio.wait_for(store.channel_page("alice,bob", Bounds(10)), 10)
    assert len(found) == 3
    assert not writing.done()
    go_on.set()
    await writing


async def test_a_file_that_another_holds_is_unavailable_until_it_lets_go(
    store: SqliteStore, path: Path
) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for attempt in (
        store.write(records(1)),
        store.purge(1),
        store.dead_letters.put([DeadLetter(1, "c", "r", 1, b"")]),
    ):
        with pytest.raises(StoreUnavailable, match="locked"):
            await attempt
    other.execute("ROLLBACK")
    other.close()
    assert await store.write(records(1)) == []


async def test_a_full_disk_is_unavailable_and_nothing_is_half_stored(store: SqliteStore) -> None:
    await store.write(records(3))
    pages = await store._writer.run(lambda db: pragma(db, "page_count"))
    await store._writer.run(lambda db: pragma(db, f"max_page_count={pages}"))
    large = [record(n, "x" * 10_000) for n in range(4, 40)]
    with pytest.raises(StoreUnavailable, match="full"):
        await store.write(large)
    assert len(await store.channel_page("alice,bob", Bounds(100))) == 3
    await store._writer.run(lambda db: pragma(db, "max_page_count=1000000"))
    assert await store.write(large) == []
    assert len(await store.channel_page("alice,bob", Bounds(100))) == 39


async def test_a_value_that_sqlite_cannot_hold_is_found_among_the_others(
    store: SqliteStore,
) -> None:
    people = ("alice", "alice")
    bad = msgspec.structs.replace(
        record(3),
        channel="alice,alice",
        audience=people,
        body=msgspec.json.encode({"participants": people}),
    )
    rejections = await store.write([*records(2), bad, *records(4, first=4)])
    assert [(one.record, one.code) for one in rejections] == [(bad, "unfit")]
    assert rejections[0].reason == "SQLite cannot hold it: IntegrityError"
    found = await store.channel_page("alice,bob", Bounds(100))
    assert [entry.id for entry in found] == [record(n).id for n in (1, 2, 4, 5, 6, 7)]


async def test_an_id_beyond_63_bits_is_refused(store: SqliteStore) -> None:
    plain = record(1)
    far = Record(
        id=1 << 63,
        kind=plain.kind,
        channel=plain.channel,
        audience=plain.audience,
        sender=plain.sender,
        origin=plain.origin,
        client_id=None,
        digest=plain.digest,
        body=plain.body,
    )
    rejections = await store.write([plain, far])
    assert [(one.record, one.code) for one in rejections] == [(far, "id_out_of_range")]


async def test_a_file_that_is_no_store_is_unavailable(path: Path) -> None:
    path.write_bytes(b"something else entirely, long enough to be looked at" * 100)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await store.open()
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await store.versions()
    await store.close()


async def test_a_folder_that_cannot_be_made_is_unavailable_until_it_can(tmp_path: Path) -> None:
    blocker = tmp_path / "data"
    blocker.write_text("a file where the folder should be")
    store = SqliteStore(blocker / "store.db")
    with pytest.raises(StoreUnavailable, match="folder cannot be made"):
        await store.open()
    blocker.unlink()
    await store.open()
    assert await store.write(records(1)) == []
    await store.close()


async def test_history_has_readers_of_its_own(store: SqliteStore) -> None:
    await store.write(records(3))
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hold(db: sqlite3.Connection) -> None:
        begun.release()
        go_on.wait(20)

    held = [asyncio.ensure_future(store._history.run(hold)) for _ in range(store.reads_at_once)]
    for _ in held:
        await asyncio.to_thread(begun.acquire)
    await asyncio.wait_for(store.ping(), 10)  # what the service asks does not wait behind them
    assert await asyncio.wait_for(store.head(), 10) == record(3).id
    waiting = asyncio.ensure_future(store.channel_page("alice,bob", Bounds(10)))
    go_on.set()
    assert len(await waiting) == 3
    await asyncio.gather(*held)


async def test_a_purge_that_fails_in_the_middle_leaves_all_and_is_in_nobodys_way(
    store: SqliteStore, path: Path
) -> None:
    await store.write(records(6))
    with sqlite3.connect(path) as other:
        other.execute(
            f"CREATE TRIGGER fail BEFORE DELETE ON messages WHEN old.id = {record(3).id}"
            " BEGIN SELECT RAISE(ABORT, 'a page is bad'); END"
        )
    other.close()
    with pytest.raises(StoreUnavailable):
        await store.purge(record(6).id)
    assert len(await store.channel_page("alice,bob", Bounds(10))) == 6
    assert len(await store.conversations("bob", before=MAX_ID, limit=5)) == 1
    assert await store.write(records(2, first=7)) == []
    assert len(await store.user_page("bob", Bounds(10))) == 8
    with sqlite3.connect(path) as other:
        other.execute("DROP TRIGGER fail")
    other.close()
    assert await store.purge(record(6).id) == 5
