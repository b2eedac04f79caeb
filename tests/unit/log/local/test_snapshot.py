"""A copy of a database that is being written to, and what a log still has."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from chatsvc.core.errors import ConfigurationError, LogDamaged
from chatsvc.core.record import checksum
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.snapshot import copy_database, oldest, oldest_needed, page_errors


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with the records 10, 20 … 100, of which 10 to 60 are stored."""
    file = LogFile(tmp_path / "log.db")
    for number in range(10, 101, 10):
        file.insert([(number, checksum(number, b"x"), b"x")])
    file.set_meta("watermark", 60)
    file.close()
    return tmp_path / "log.db"


def test_a_copy_is_one_moment_of_a_file_that_is_written_to(tmp_path: Path) -> None:
    """Each transaction adds a row to both tables: a copy has as many of both."""
    source = tmp_path / "live.db"
    db = sqlite3.connect(source, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA user_version=7")
    db.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, x)")
    db.execute("CREATE TABLE b (id INTEGER PRIMARY KEY)")
    ending = threading.Event()

    def write() -> None:
        while not ending.is_set():
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO a (x) VALUES (?)", ("x" * 500,))
            db.execute("INSERT INTO b DEFAULT VALUES")
            db.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            copy_database(source, tmp_path / f"copy{number}.db")
    finally:
        ending.set()
        writer.join(30)
    db.close()
    counts = []
    for number in range(10):
        with contextlib.closing(sqlite3.connect(tmp_path / f"copy{number}.db")) as copy:
            (in_a,) = copy.execute("SELECT count(*) FROM a").fetchone()
            (in_b,) = copy.execute("SELECT count(*) FROM b").fetchone()
            assert in_a == in_b
            assert copy.execute("PRAGMA user_version").fetchone() == (7,)
            counts.append(in_a)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_copy_never_goes_into_a_file_that_is_there(log: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    with pytest.raises(ConfigurationError, match="exists"):
        copy_database(log, target)
    assert target.read_text() == "precious"


def test_what_cannot_be_opened_or_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot use"):
        copy_database(tmp_path / "none.db", tmp_path / "copy")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(LogDamaged, match="is damaged"):
        copy_database(tmp_path / "text", tmp_path / "copy")
    assert len(page_errors(tmp_path / "text")) == 1


def test_a_damaged_page_is_found(log: Path) -> None:
    assert page_errors(log) == []
    data = bytearray(log.read_bytes())
    data[4096:4200] = bytes(104)
    log.write_bytes(data)
    assert page_errors(log)


def test_where_a_store_may_lack_something(log: Path) -> None:
    assert (oldest(log), oldest_needed(log)) == (10, 70)
    with contextlib.closing(LogFile(log)) as file:
        file.trim(60, 100)
    assert (oldest(log), oldest_needed(log)) == (70, 70)
    with contextlib.closing(LogFile(log)) as file:
        file.set_meta("watermark", 100)
    assert oldest_needed(log) == 100
    with contextlib.closing(LogFile(log)) as file:
        file.remove(range(70, 101, 10))
    assert (oldest(log), oldest_needed(log)) == (None, None)
