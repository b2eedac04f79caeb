"""``chatsvc log verify``: reports what is bad, and repairs only what is requested."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from chatsvc.cli import main
from chatsvc.core.ids import format_id
from chatsvc.core.record import checksum, pack
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.lock import DataDirLock
from testkit import record_form_1
from testkit.records import records

Captured = pytest.CaptureFixture[str]
RECORDS = records(20, first=1)
BAD = RECORDS[7].id


def fill(path: Path) -> LogFile:
    """A commit for each record; every other one as programs before form 2 wrote it."""
    file = LogFile(path)
    for number, record in enumerate(RECORDS):
        data = pack(record) if number % 2 else record_form_1.pack(record)
        file.insert([(record.id, checksum(record.id, data), data)])
    return file


@pytest.fixture
def log(folder: Path) -> Path:
    """The log of a service that was stopped."""
    path = folder / "data" / "log.db"
    fill(path).close()
    return path


@pytest.fixture
def log_with_a_bad_row(log: Path) -> Path:
    with contextlib.closing(sqlite3.connect(log)) as db:
        db.execute("UPDATE records SET crc = crc + 1 WHERE id = ?", (BAD,))
        db.commit()
    return log


def epoch(path: Path) -> object:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0]


@pytest.mark.parametrize("flag", [[], ["--quarantine"], ["--accept-loss"]])
def test_a_good_log_is_good_and_stays_as_it_is(
    flag: list[str], log: Path, capsys: Captured
) -> None:
    before = epoch(log)
    assert main(["log", "verify", *flag]) == 0
    assert capsys.readouterr().out == f"good: {len(RECORDS)} records\n"
    assert epoch(log) == before
    assert list(log.parent.glob("*-accepted-*")) == []


def test_a_bad_row_is_named_and_left(log_with_a_bad_row: Path, capsys: Captured) -> None:
    for _ in range(2):
        assert main(["log", "verify"]) == 1
        out = capsys.readouterr().out
        assert f"bad: record {format_id(BAD)}: checksum" in out
        assert "--quarantine" in out


def test_a_bad_row_becomes_a_dead_letter(log_with_a_bad_row: Path, capsys: Captured) -> None:
    assert main(["log", "verify", "--quarantine"]) == 0
    assert main(["log", "verify"]) == 0
    assert f"good: {len(RECORDS) - 1} records" in capsys.readouterr().out
    assert main(["dead-letters", "list"]) == 0
    assert capsys.readouterr().out.startswith(f"{format_id(BAD)}  ")


@pytest.mark.parametrize(
    "change",
    [(b"message 8", b"message 9"), (b"alice,bob", b"alice,rob")],
    ids=["content", "audience"],
)
def test_a_bad_row_is_never_replayed_into_history(
    change: tuple[bytes, bytes], log: Path, folder: Path, capsys: Captured
) -> None:
    with contextlib.closing(sqlite3.connect(log)) as db:
        (data,) = db.execute("SELECT data FROM records WHERE id = ?", (BAD,)).fetchone()
        assert change[0] in data
        altered = data.replace(*change, 1)
        db.execute("UPDATE records SET data = ? WHERE id = ?", (altered, BAD))
        db.commit()
    assert main(["log", "verify", "--quarantine"]) == 0
    for which in (["--all"], [format_id(BAD)]):
        assert main(["dead-letters", "replay", *which]) == 1
        assert f"{format_id(BAD)} is kept: its bytes failed" in capsys.readouterr().err
    with contextlib.closing(sqlite3.connect(folder / "data" / "store.db")) as db:
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    assert main(["dead-letters", "drop", format_id(BAD)]) == 0


def test_a_damaged_file_is_gone_on_with_only_when_the_loss_is_accepted(
    folder: Path, capsys: Captured
) -> None:
    file = fill(folder / "running" / "log.db")
    shutil.copytree(folder / "running", folder / "data")
    file.close()
    path = folder / "data" / "log.db"
    wal = path.with_name("log.db-wal")
    damaged = bytearray(wal.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    wal.write_bytes(damaged)
    for argv in (["log", "verify"], ["log", "verify", "--quarantine"]):
        assert main(argv) == 1
        assert "bad: the write-ahead log is damaged at byte" in capsys.readouterr().out
        assert wal.read_bytes() == bytes(damaged)
    assert main(["log", "verify", "--accept-loss"]) == 0
    out = capsys.readouterr().out
    assert "a copy of the previous files is in " in out
    assert out.splitlines()[-1].startswith("good: ")
    assert main(["log", "verify"]) == 0


def test_not_beside_a_running_service(log: Path, capsys: Captured) -> None:
    lock = DataDirLock(log.parent)
    lock.acquire()
    try:
        assert main(["log", "verify"]) == 2
    finally:
        lock.release()
    assert "in use by process" in capsys.readouterr().err


def test_where_there_is_no_log_none_is_made(folder: Path, capsys: Captured) -> None:
    assert main(["log", "verify"]) == 2
    assert "there is no log in" in capsys.readouterr().err
    assert list(folder.iterdir()) == []
