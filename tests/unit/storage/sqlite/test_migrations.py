"""The tables of the embedded store: made, moved forward, and written in whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.ids import id_ms
from chatsvc.core.record import pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import dead_letters as sqlite_dead_letters
from chatsvc.storage.sqlite import writes as sqlite_writes
from chatsvc.storage.sqlite.migrations import STEPS, bring_up, found_version
from chatsvc.storage.sqlite.watermark import meta
from testkit.client_ids import uuid7_at
from testkit.records import record, records


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    yield db
    db.close()


def test_the_identity_is_random_and_stays(db: sqlite3.Connection) -> None:
    bring_up(db)
    name = meta(db, "identity")
    assert re.fullmatch("[0-9a-f]{32}", str(name))
    bring_up(db, (*STEPS, "CREATE TABLE more (id INTEGER)"))
    assert meta(db, "identity") == name
    other = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(other)
    assert meta(other, "identity") != name
    other.close()


def test_tables_without_a_version_are_of_none(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    assert found_version(db) == 0


def test_a_newer_version_is_named(db: sqlite3.Connection) -> None:
    bring_up(db, (*STEPS, "CREATE TABLE more (id INTEGER)"))
    with pytest.raises(VersionTooNew, match=r"version 3; this program knows up to 2"):
        bring_up(db)


def test_the_first_letter_of_the_first_version_gets_its_key(db: sqlite3.Connection) -> None:
    bring_up(db, STEPS[:1])
    one = record(1, client_id="k")
    db.execute("INSERT INTO dead_letters VALUES (1, 'code', 'reason', 1, ?)", (pack(one),))
    bring_up(db)
    assert sqlite_client_ids.find_client_id(db, ("alice", "alice,bob", "k")) == (1, one.digest)


def test_letters_are_put_aside_in_whole_or_not_at_all(db: sqlite3.Connection) -> None:
    bring_up(db)
    good = DeadLetter(record(1).id, "code", "reason", 1, pack(record(1)))
    bad = good._replace(id=record(2).id, reason=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        sqlite_dead_letters.put(db, [good, bad])
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)
    sqlite_dead_letters.put(db, [good])
    assert db.execute("SELECT id FROM dead_letters").fetchall() == [(good.id,)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


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
