"""What is the embedded store's own: its file, its threads, its versions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import MAX_ID, id_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record, pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import dead_letters as sqlite_dead_letters
from chatsvc.storage.sqlite import messages as sqlite_messages
from chatsvc.storage.sqlite import writes as sqlite_writes
from chatsvc.storage.sqlite.migrations import STEPS, bring_up, found_version
from chatsvc.storage.sqlite.store import SqliteStore
from tests.support.client_ids import uuid7_at
from tests.support.records import record, records


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
    def twice(one: Record) -> Record:
        return Record(
            id=one.id,
            kind=one.kind,
            channel=one.channel,
            audience=("alice", "alice"),
            sender=one.sender,
            origin=one.origin,
            client_id=None,
            digest=one.digest,
            body=one.body,
        )

    bad = twice(record(3))
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


# --- versions


def open_db(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_an_older_store_is_moved_forward_step_by_step(path: Path) -> None:
    db = open_db(path)
    bring_up(db, STEPS)
    sqlite_writes.write_records(db, records(3))
    identity = db.execute("SELECT value FROM meta WHERE name='identity'").fetchone()
    steps = (
        *STEPS,
        "ALTER TABLE messages ADD COLUMN edited INTEGER; UPDATE messages SET edited = 0",
        "ALTER TABLE messages RENAME COLUMN edited TO changed",
    )
    bring_up(db, steps)
    assert found_version(db) == len(steps)
    assert db.execute("SELECT sum(changed), count(*) FROM messages").fetchone() == (0, 3)
    assert db.execute("SELECT value FROM meta WHERE name='identity'").fetchone() == identity
    bring_up(db, steps)  # nothing left to do
    with pytest.raises(VersionTooNew):
        bring_up(db, STEPS)
    db.close()


def test_letters_of_the_first_version_get_their_keys(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_dead_letters, "_FILL_AT_ONCE", 2)
    db = open_db(path)
    bring_up(db, STEPS[:1])
    ahead = uuid7_at(id_ms(record(3).id) + 60_000)
    put = [
        record(1, client_id="a"),
        record(2),
        record(3, client_id=ahead),
        *records(2, first=5, client_id="b"),
    ]
    rows = [(one.id, "code", "reason", 1, pack(one)) for one in put]
    rows.append((record(4).id, "damaged", "reason", 1, b"no record"))
    db.executemany("INSERT INTO dead_letters VALUES (?,?,?,?,?)", rows)
    bring_up(db)
    found = db.execute("SELECT id, client_id, minted_ahead_ms FROM dead_letters ORDER BY id")
    assert found.fetchall() == [
        (record(1).id, "a", None),
        (record(2).id, None, None),
        (record(3).id, ahead, id_ms(record(3).id) + 60_000),
        (record(4).id, None, None),
        (record(5).id, "b", None),
        (record(6).id, "b", None),
    ]
    assert sqlite_client_ids.find_client_id(db, ("alice", "alice,bob", "b")) == (
        record(5).id,
        record(5).digest,
    )
    db.close()


def test_a_step_that_fails_leaves_the_store_as_it_was(path: Path) -> None:
    db = open_db(path)
    bring_up(db, STEPS)
    broken = (*STEPS, "ALTER TABLE messages ADD COLUMN edited INTEGER; SELECT nonsense")
    with pytest.raises(sqlite3.OperationalError):
        bring_up(db, broken)
    assert found_version(db) == len(STEPS)
    columns = [row[1] for row in db.execute("PRAGMA table_info(messages)")]
    assert "edited" not in columns
    db.close()


# --- how queries find their rows


@pytest.mark.parametrize("newest", [True, False])
def test_pages_walk_an_index_and_sort_nothing(path: Path, newest: bool) -> None:
    db = open_db(path)
    bring_up(db)
    sqlite_writes.write_records(db, records(5))
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    bounds = Bounds(2, 1, 1 << 62, newest)
    sqlite_messages.channel_page(db, "alice,bob", bounds)
    sqlite_messages.user_page(db, "alice", bounds)
    sqlite_messages.count_user(db, "alice", bounds)
    sqlite_client_ids.find_client_id(db, ("alice", "alice,bob", "k"))
    sqlite_messages.message(db, 1)
    sqlite_messages.head(db)
    db.set_trace_callback(None)
    assert len(statements) == 6
    statements += [
        "SELECT sender, minted_ahead_ms FROM messages WHERE minted_ahead_ms > 7",
        "SELECT id FROM dead_letters WHERE client_id = 'k' AND sender = 'a' AND channel = 'a'",
    ]
    for statement in statements:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not any("TEMP B-TREE" in line for line in plan), (statement, plan)
        assert not any(line.startswith(("SCAN m", "SCAN dead")) for line in plan), (statement, plan)
    db.close()


def test_a_batch_takes_few_statements(path: Path) -> None:
    db = open_db(path)
    bring_up(db)
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    sqlite_writes.write_records(db, [record(n, to=("alice", f"u{n}")) for n in range(1, 501)])
    assert len(statements) <= 10
    db.close()


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
