"""The tables of the embedded store: made, moved forward, and written in whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from chatsvc.core.errors import VersionTooNew
from chatsvc.core.record import pack
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import dead_letters as sqlite_dead_letters
from chatsvc.storage.sqlite.migrations import STEPS, bring_up, found_version
from chatsvc.storage.sqlite.watermark import meta
from tests.support.records import record


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
