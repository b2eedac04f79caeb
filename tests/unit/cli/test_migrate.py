"""``chatsvc migrate``: what is older is moved forward, what is newer is left alone."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from chatsvc.cli import main
from chatsvc.core.record import pack
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.lock import DataDirLock
from chatsvc.storage import store_versions
from chatsvc.storage.sqlite import client_ids as sqlite_client_ids
from chatsvc.storage.sqlite import from_version_2, migrations
from chatsvc.storage.sqlite.store import SqliteStore
from chatsvc.storage.sqlite.tables import VERSION
from testkit.old_stores import old_store, put_messages
from testkit.records import record, records

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def data(folder: Path) -> Path:
    """A folder with log and store of this version."""
    path = folder / "data"
    LogFile(path / "log.db").close()

    async def make() -> None:
        store = SqliteStore(path / "store.db")
        await store.open()
        await store.close()

    asyncio.run(make())
    return path


def make_newer(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def test_up_to_date(data: Path, capsys: Captured) -> None:
    for argv in (["migrate", "--check"], ["migrate"]):
        assert main(argv) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(":")[0] for line in lines] == ["log", "store"]
        assert all(line.endswith("up to date") for line in lines)


def test_a_check_of_an_empty_folder_makes_nothing(folder: Path, capsys: Captured) -> None:
    assert main(["migrate", "--check"]) == 0
    assert capsys.readouterr().out.count("there is none yet") == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("argv", [["migrate"], ["migrate", "--check"]])
@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("log", "PRAGMA user_version=99"),
        ("store", "UPDATE meta SET value='99' WHERE name='version'"),
    ],
)
def test_what_a_newer_program_wrote_is_left_alone(
    data: Path, capsys: Captured, argv: list[str], name: str, statement: str
) -> None:
    file = data / f"{name}.db"
    make_newer(file, statement)
    before = file.read_bytes()
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"chatsvc: the {name} has version 99")
    assert err.count("\n") == 1
    assert file.read_bytes() == before


def test_what_is_no_log_is_said_to_be_none(data: Path, capsys: Captured) -> None:
    (data / "log.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    assert main(["migrate", "--check"]) == 2
    assert "cannot be read as a log" in capsys.readouterr().err


def test_not_beside_a_running_service(data: Path, capsys: Captured) -> None:
    lock = DataDirLock(data)
    lock.acquire()
    try:
        assert main(["migrate"]) == 2
        assert "in use by process" in capsys.readouterr().err
        assert main(["migrate", "--check"]) == 0
    finally:
        lock.release()


def test_an_older_store_is_reported_and_upgraded(data: Path, capsys: Captured) -> None:
    """One of the first version, with a dead letter that says nothing of its key."""
    letter_record = record(1, client_id="k")
    (data / "store.db").unlink(missing_ok=True)
    with old_store(data / "store.db", 1) as db:
        letter = (letter_record.id, "code", "reason", 1, pack(letter_record))
        db.execute("INSERT INTO dead_letters VALUES (?,?,?,?,?)", letter)
    assert main(["migrate", "--check"]) == 1
    assert f"version 1, to be upgraded to {VERSION}" in capsys.readouterr().out
    assert main(["migrate"]) == 0
    assert f"store: version {VERSION}, up to date" in capsys.readouterr().out
    assert main(["migrate", "--check"]) == 0
    with sqlite3.connect(data / "store.db") as db:
        found = sqlite_client_ids.find_client_id(db, ("alice", "alice,bob", "k"))
    db.close()
    assert found == (letter_record.id, letter_record.digest)


def test_a_large_store_is_upgraded_by_the_command_alone(
    data: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "a secret of at least thirty-two bytes")
    monkeypatch.setattr(store_versions, "UPGRADED_AT_OPEN", 3)
    monkeypatch.setattr(migrations, "LOGGED_EVERY", 2)
    monkeypatch.setattr(from_version_2, "MOVED_AT_ONCE", 3)
    (data / "store.db").unlink()
    with old_store(data / "store.db", 2) as db:
        put_messages(db, records(7))
    refused = (
        "chatsvc: the store has version 2 and more than 3 messages: it must be upgraded to"
        " version 3, with `chatsvc migrate`, before it is used\n"
    )
    for argv in (["config", "--check"], ["dead-letters", "list"]):
        assert main(argv) == 2
        assert capsys.readouterr().err.endswith(refused)

    def fail(_: sqlite3.Connection) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(from_version_2, "move_some", fail)
        assert main(["migrate"]) == 1
    capsys.readouterr()
    for argv in (["config", "--check"], ["dead-letters", "list"]):
        assert main(argv) == 2
        assert "partly upgraded to version 3" in capsys.readouterr().err
    assert main(["migrate", "--check"]) == 1
    assert "store: version 2, to be upgraded to 3" in capsys.readouterr().out
    assert main(["migrate"]) == 0
    logged = capsys.readouterr()
    assert "store: version 3, up to date" in logged.out
    assert logged.err.count("store_partly_upgraded") == 2
    assert main(["config", "--check"]) == 0
