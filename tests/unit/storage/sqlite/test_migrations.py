"""The tables of the embedded store: made, upgraded, and written in whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import ConfigurationError, VersionTooNew
from chatsvc.core.ids import id_ms
from chatsvc.core.membership import RequestKey
from chatsvc.core.record import pack
from chatsvc.storage import store_versions
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import dead_letters as sqlite_dead_letters
from chatsvc.storage.sqlite import from_version_1, writes
from chatsvc.storage.sqlite.migrations import bring_up, check_version, found_version
from chatsvc.storage.sqlite.tables import VERSION
from chatsvc.storage.sqlite.watermark import meta
from testkit.client_ids import uuid7_at
from testkit.groups import GROUP, group_message, joined
from testkit.old_stores import IDENTITY, old_store, put_messages
from testkit.records import KINDS, record, records

NAMES = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    yield db
    db.close()


@pytest.mark.parametrize("upgrades", [True, False])
def test_the_identity_is_random_and_stays(db: sqlite3.Connection, upgrades: bool) -> None:
    bring_up(db, upgrades=upgrades)
    name = meta(db, "identity")
    assert re.fullmatch("[0-9a-f]{32}", str(name))
    bring_up(db, upgrades=upgrades)
    assert meta(db, "identity") == name
    other = sqlite3.connect(":memory:", isolation_level=None)
    bring_up(other, upgrades=upgrades)
    assert meta(other, "identity") != name
    other.close()


def test_tables_without_a_version_are_of_none(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    assert found_version(db) == 0
    bring_up(db)
    assert found_version(db) == VERSION == 3


@pytest.mark.parametrize("upgrades", [True, False])
def test_a_newer_version_is_named(db: sqlite3.Connection, upgrades: bool) -> None:
    bring_up(db)
    db.execute("UPDATE meta SET value = '4' WHERE name = 'version'")
    with pytest.raises(VersionTooNew, match=r"version 4; this program knows up to 3"):
        bring_up(db, upgrades=upgrades)


@pytest.mark.parametrize("upgrades", [True, False])
@pytest.mark.parametrize("version", ["2", "3"])
def test_a_file_between_two_releases_is_refused(
    db: sqlite3.Connection, upgrades: bool, version: str
) -> None:
    bring_up(db)
    for table in ("memberships", "channel_states", "filters"):
        db.execute(f"DROP TABLE {table}")
    db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
    with pytest.raises(ConfigurationError, match="must be removed"):
        bring_up(db, upgrades=upgrades)
    with pytest.raises(ConfigurationError, match="between two releases"):
        check_version(db)


@pytest.mark.parametrize("upgrades", [True, False])
def test_a_file_without_the_tables_of_requests_gets_them(
    db: sqlite3.Connection, upgrades: bool
) -> None:
    bring_up(db)
    writes.write_records(db, [joined(1, "alice")], KINDS)
    made = db.execute(NAMES).fetchall()
    for table in ("requests", "dead_letter_requests"):
        db.execute(f"DROP TABLE {table}")
    bring_up(db, upgrades=upgrades)
    assert db.execute(NAMES).fetchall() == made
    keys = (RequestKey("bob", "k", b"digest"),)
    late = msgspec.structs.replace(joined(2, "bob"), keys=keys)
    assert writes.write_records(db, [late], KINDS) == []
    assert sqlite_client_ids.find_client_id(db, ("bob", GROUP, "k")) == (late.id, b"digest")


@pytest.mark.parametrize("version", [1, 2])
def test_an_upgraded_store_has_the_tables_of_a_new_one(
    db: sqlite3.Connection, tmp_path: Path, version: int
) -> None:
    bring_up(db)
    made = db.execute(NAMES).fetchall()
    path = tmp_path / "store.db"
    with old_store(path, version):
        pass
    upgraded = sqlite3.connect(path, isolation_level=None)
    bring_up(upgraded)
    assert upgraded.execute(NAMES).fetchall() == made
    assert writes.write_records(upgraded, [joined(1, "alice"), group_message(2)], KINDS) == []
    upgraded.close()


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


@pytest.mark.parametrize("upgrades", [True, False])
def test_letters_of_the_first_version_get_their_keys(
    monkeypatch: pytest.MonkeyPatch, upgrades: bool
) -> None:
    monkeypatch.setattr(from_version_1, "FILLED_AT_ONCE", 2)
    ahead = uuid7_at(id_ms(record(3).id) + 60_000)
    put = [
        record(1, client_id="a"),
        record(2),
        record(3, client_id=ahead),
        *records(2, first=5, client_id="b"),
    ]
    rows = [(one.id, "code", "reason", 1, pack(one)) for one in put]
    rows.append((record(4).id, "damaged", "reason", 1, b"no record"))
    with old_store(":memory:", 1) as db:
        db.executemany("INSERT INTO dead_letters VALUES (?,?,?,?,?)", rows)
        bring_up(db, upgrades=upgrades)
        found = db.execute("SELECT id, client_id, minted_ahead_ms FROM dead_letters ORDER BY id")
        assert found.fetchall() == [
            (record(1).id, "a", None),
            (record(2).id, None, None),
            (record(3).id, ahead, id_ms(record(3).id) + 60_000),
            (record(4).id, None, None),
            (record(5).id, "b", None),
            (record(6).id, "b", None),
        ]
        key = ("alice", "alice,bob", "b")
        assert sqlite_client_ids.find_client_id(db, key) == (record(5).id, record(5).digest)
        assert (found_version(db), meta(db, "identity")) == (VERSION, IDENTITY)


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_more_messages_is_left_to_the_command(
    monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setattr(store_versions, "UPGRADED_AT_OPEN", 3)
    with old_store(":memory:", version) as db:
        rows = [(one.id, 1, "c", "s", "o", b"", "", b"") for one in records(4)]
        db.executemany(
            "INSERT INTO messages (id, rev, channel, sender, origin, digest, audience, body)"
            " VALUES (?,?,?,?,?,?,?,?)",
            rows,
        )
        before = list(db.iterdump())
        for refused in (bring_up, check_version):
            with pytest.raises(ConfigurationError) as caught:
                refused(db)
            assert str(caught.value) == (
                f"the store has version {version} and more than 3 messages: it must be upgraded"
                " to version 3, with `chatsvc migrate`, before it is used"
            )
        assert list(db.iterdump()) == before
        db.execute("DELETE FROM messages WHERE id = ?", (record(4).id,))
        assert check_version(db) == version
        bring_up(db)
        assert check_version(db) == VERSION


def test_an_upgrade_at_open_that_fails_leaves_the_store_as_it_was() -> None:
    with old_store(":memory:", 2) as db:
        put_messages(db, records(3))
        db.execute("DROP INDEX message_key")  # it is missed halfway
        before = list(db.iterdump())
        with pytest.raises(sqlite3.OperationalError):
            bring_up(db)
        assert list(db.iterdump()) == before
        assert found_version(db) == 2
