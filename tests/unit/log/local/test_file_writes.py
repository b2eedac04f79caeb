"""Writes of the log's file that fail, that wait, and what is moved home when."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import ConfigurationError, LogDamaged, LogUnavailable, VersionTooNew
from chatsvc.log.local import file as log_file
from chatsvc.log.local.damage import keep_copy, unfinished_loss
from chatsvc.log.local.file import LogFile

PAGE = 4096


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    made.insert([(at, 0, b"x") for at in (10, 20, 30)])
    yield made
    made.abandon()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """As another process that holds the file for writing."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
    finally:
        db.close()


def error(code: int | None, text: str = "told by SQLite") -> sqlite3.OperationalError:
    made = sqlite3.OperationalError(text)
    if code is not None:
        made.sqlite_errorcode = code
        made.sqlite_errorname = "SQLITE_NAME"
    return made


class Failing:
    """A connection whose every statement fails."""

    def __init__(self, exc: Exception) -> None:
        self._exc = exc

    def execute(self, *_: object) -> None:
        raise self._exc

    def close(self) -> None:
        """Nothing is open."""


# --- failures


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, ("another process holds the log's file", "log_busy", 2.0)),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, ("another process holds the log's file", "log_busy", 2.0)),
        (sqlite3.SQLITE_LOCKED, ("another process holds the log's file", "log_busy", 2.0)),
        (sqlite3.SQLITE_FULL, ("the log's disk is full", "disk_full", 5.0)),
        (sqlite3.SQLITE_READONLY, ("the log cannot write (SQLITE_NAME)", "log_unavailable", 1.0)),
        (None, ("the log cannot write (unknown)", "log_unavailable", 1.0)),
    ],
)
def test_a_write_that_fails_says_why_and_when_to_come_back(
    file: LogFile, monkeypatch: pytest.MonkeyPatch, code: int | None, expected: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(file, "_db", Failing(error(code)))
    with pytest.raises(LogUnavailable) as raised:
        file.insert([(40, 0, b"x")])
    found = raised.value
    assert (found.detail, found.code, found.retry_after) == expected


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CORRUPT,
                                  sqlite3.SQLITE_NOTADB])  # fmt: skip
def test_a_disk_that_fails_ends_the_process_at_once_and_says_so(
    file: LogFile, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    done: list[object] = []

    class Ended(BaseException):
        """Instead of the end of the process."""

    def end(status: int) -> None:
        done.append(status)
        raise Ended

    monkeypatch.setattr(log_file.os, "_exit", end)
    monkeypatch.setattr(log_file.logs, "finish", lambda: done.append("log finished"))
    monkeypatch.setattr(log_file, "write_within", lambda *told: done.append(told))
    monkeypatch.setattr(file, "_db", Failing(error(code, "told \udcff by SQLite")))
    with pytest.raises(Ended):
        file.insert([(40, 0, b"x")])
    text = b"chatsvc: the log's disk failed (SQLITE_NAME: told ? by SQLite); ending at once\n"
    assert done == ["log finished", (2, text, log_file.logs.FLUSH_SECONDS), 74]


def test_a_transaction_that_fails_is_rolled_back(file: LogFile) -> None:
    with pytest.raises(LogUnavailable):
        file.replace([10], [(20, 0, b"x")], {})
    assert not file._db.in_transaction
    assert file.count() == 3


# --- waiting for a lock


def waits_ms(file: LogFile) -> int:
    return int(file._db.execute("PRAGMA busy_timeout").fetchone()[0])


def test_only_commits_wait_for_a_lock_once_a_service_runs(file: LogFile) -> None:
    file.set_meta("a", 1)
    assert waits_ms(file) == 5000
    file.insert([(40, 0, b"x")])
    assert waits_ms(file) == 1000
    file.never_wait()
    file.set_meta("a", 2)
    assert waits_ms(file) == 0
    file.insert([(50, 0, b"x")])
    assert waits_ms(file) == 1000
    file.checkpoint_if_due()
    assert waits_ms(file) == 1000, "none was due"
    file._since_checkpoint = 1 << 30
    file.checkpoint_if_due()
    assert waits_ms(file) == 0
    assert file._since_checkpoint == 0


def test_a_lock_that_is_free_is_given_back(file: LogFile) -> None:
    file.never_wait()
    assert file.is_free()
    assert not file._db.in_transaction
    with locked(file.path):
        assert not file.is_free()
    assert file.is_free()


def test_whether_a_lock_is_free_may_be_unknown(file: LogFile) -> None:
    file._db.close()
    with pytest.raises(LogUnavailable, match=r"the log cannot write \(unknown\)"):
        file.is_free()


# --- the write-ahead log


class Checkpoints(list[tuple[str, int]]):
    """What was asked for in place of a checkpoint, and what it answers."""

    answer: tuple[int, int, int] | None = (0, 5, 5)

    def __call__(self, mode: str, patience_ms: int = 0) -> tuple[int, int, int] | None:
        self.append((mode, patience_ms))
        return self.answer


@pytest.fixture
def asked(file: LogFile, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    found = Checkpoints()
    monkeypatch.setattr(file, "_checkpoint", found)
    return found


def test_pages_are_moved_home_once_so_many_bytes_were_written(
    file: LogFile, asked: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    file._since_checkpoint = 0
    file.insert([(40, 0, b"x" * 100), (50, 0, b"x" * 23)])
    file.insert([(60, 0, b"")])
    written = 6 * PAGE + 123
    assert file._since_checkpoint == written
    monkeypatch.setattr(log_file, "_CHECKPOINT_BYTES", written + 1)
    file.checkpoint_if_due()
    assert asked == []
    monkeypatch.setattr(log_file, "_CHECKPOINT_BYTES", written)
    for _ in range(2):
        file.checkpoint_if_due()
    assert asked == [("PASSIVE", 0)]
    file.trim(25, 2)
    file.trim(35, 1)
    assert file._since_checkpoint == 3 * PAGE // 8


def test_a_checkpoint_that_another_is_in_the_way_of_comes_sooner(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert file._checkpoint("PASSIVE") is not None
    for code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
        file._since_checkpoint = 0
        with monkeypatch.context() as patch:
            patch.setattr(file, "_db", Failing(error(code)))
            assert file._checkpoint("PASSIVE") is None
        assert file._since_checkpoint == 2 * 1024 * 1024
    monkeypatch.setattr(file, "_db", Failing(error(sqlite3.SQLITE_READONLY)))
    with pytest.raises(LogUnavailable, match="the log cannot write"):
        file._checkpoint("PASSIVE")


def test_a_write_ahead_log_within_its_bound_is_left_alone(
    file: LogFile, asked: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = file.wal_size()
    assert size == file.path.with_name("log.db-wal").stat().st_size > 0
    monkeypatch.setattr(log_file, "WAL_BYTES", size)
    assert file.shrink_wal()
    assert asked == []
    monkeypatch.setattr(log_file, "WAL_BYTES", size - 1)
    assert not file.shrink_wal()
    assert asked == [("PASSIVE", 0), ("TRUNCATE", 100)]


@pytest.mark.parametrize("answer", [None, (0, 5, 4)])
def test_it_is_not_cut_while_pages_of_it_are_not_home(
    file: LogFile, asked: Checkpoints, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    asked.answer = answer
    monkeypatch.setattr(log_file, "WAL_BYTES", 0)
    assert not file.shrink_wal()
    assert asked == [("PASSIVE", 0)]


def test_closing_waits_as_a_commit_does(file: LogFile, asked: Checkpoints) -> None:
    file.close()
    assert asked == [("TRUNCATE", 1000)]
    assert file.path.exists()


# --- opening


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: cannot use .*log\.db: "):
        LogFile(tmp_path / "log.db")


def test_a_newer_file_is_let_go_of(file: LogFile) -> None:
    file._db.execute("PRAGMA user_version=2")
    path = file.path
    file.close()
    with pytest.raises(VersionTooNew, match=r"has version 2; this program knows up to 1"):
        LogFile(path)
    assert not path.with_name("log.db-wal").exists()


def test_a_file_that_another_process_made_meanwhile_is_taken_as_it_is(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        """Was asked for the version before the other made the tables."""

        asked = False

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if statement == "PRAGMA user_version" and not self.asked:
                self.asked = True
                return real.execute("SELECT 0")
            return real.execute(statement, *values)

    real, epoch = file._db, file.meta("epoch")
    with monkeypatch.context() as patch:
        patch.setattr(file, "_db", Late())
        file._prepare()
    assert not real.in_transaction
    assert file.meta("epoch") == epoch


def damaged(folder: Path) -> Path:
    """A log whose write-ahead log lost more than its end."""
    folder.mkdir()
    file = LogFile(folder / "whole.db")
    for at in range(1, 5):
        file.insert([(at, 0, b"x")])
    for end in ("", "-wal"):
        data = bytearray((folder / f"whole.db{end}").read_bytes())
        if end:
            data[32 + 24 + 100] ^= 0xFF
        (folder / f"log.db{end}").write_bytes(data)
    file.close()
    return folder / "log.db"


def test_damage_is_refused_counted_and_copied_once(tmp_path: Path) -> None:
    path = damaged(tmp_path / "data")
    wal = path.with_name("log.db-wal")
    before = path.read_bytes(), wal.read_bytes()
    copy = path.with_name(f"damaged-at-32-of-{len(before[1])}")
    for _ in range(2):
        with pytest.raises(LogDamaged) as raised:
            LogFile(path)
        assert f"{wal} is damaged at byte 32: 0 commits before it are good, 5 at or" in str(
            raised.value
        )
        assert f"a copy is in {copy}. Restore log.db and its -wal from a backup" in str(
            raised.value
        )
        assert (path.read_bytes(), wal.read_bytes()) == before
    assert sorted(one.name for one in copy.iterdir()) == ["log.db", "log.db-wal"]
    assert ((copy / "log.db").read_bytes(), (copy / "log.db-wal").read_bytes()) == before
    assert len(list(path.parent.glob("damaged-*"))) == 1
    LogFile(path, accept_loss=True).close()


def test_a_loss_that_was_not_accepted_to_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    assert unfinished_loss(path) == tmp_path / "log.db-loss-unfinished"
    unfinished_loss(path).touch()
    with pytest.raises(LogDamaged, match="an accepted loss was not finished; run `chatsvc log"):
        LogFile(path)
    assert not path.exists()


def test_a_copy_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"the log")
    (tmp_path / "copy.part").mkdir()
    (tmp_path / "copy.part" / "of before").touch()
    assert keep_copy(path, "copy") == tmp_path / "copy"
    assert [one.name for one in (tmp_path / "copy").iterdir()] == ["log.db"]
    assert not (tmp_path / "copy.part").exists()
    path.write_bytes(b"another")
    keep_copy(path, "copy")
    assert (tmp_path / "copy" / "log.db").read_bytes() == b"the log"
