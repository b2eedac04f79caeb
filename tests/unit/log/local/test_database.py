"""The log's database: how it is opened, what fails, and who waits for a lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import ConfigurationError, LogUnavailable, VersionTooNew
from chatsvc.log.local import database
from chatsvc.log.local.database import new_epoch
from chatsvc.log.local.file import LogFile
from testkit.drafts import record
from tests.unit.support.failing_sqlite import Failing, error, locked


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    made.insert([(at, 0, b"x") for at in (10, 20, 30)])
    yield made
    made.abandon()


def test_a_new_file_is_durable_and_moves_pages_when_it_is_told_to(empty: LogFile) -> None:
    def pragma(name: str) -> object:
        return empty._db.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2, "each commit is on the disk before it is called one"
    assert pragma("wal_autocheckpoint") == 0
    assert pragma("journal_size_limit") == 16 * 1024 * 1024
    assert pragma("user_version") == 2
    assert empty.torn_at is None


def test_a_new_file_has_an_epoch_a_time_and_no_records(
    empty: LogFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("chatsvc.log.local.database.now_ms", lambda: 17)
    file = LogFile(tmp_path / "a" / "b" / "log.db")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert file.meta("created_ms") == 17
    assert file.meta("trimmed") == 0
    assert file.meta("anything else") is None
    epoch = str(file.meta("epoch"))
    assert len(epoch) == 10
    assert epoch.isalnum()
    assert epoch.islower() or epoch.isdigit()
    file.close()
    again = LogFile(tmp_path / "a" / "b" / "log.db")
    assert again.meta("epoch") == epoch
    again.close()
    assert new_epoch() != epoch
    for question in (empty.lowest, empty.head, empty.count):
        assert question() == 0


def test_what_is_set_replaces_what_was_and_all_of_it_or_nothing(file: LogFile) -> None:
    file.set_meta("a", 1)
    file.set_meta("a", "2")
    assert file.meta("a") == "2"
    file.set_metas({"a": 3, "b": 4})
    assert (file.meta("a"), file.meta("b")) == (3, 4)
    with pytest.raises(LogUnavailable, match="the log cannot write"):
        file.set_metas({"a": 5, "b": object()})  # type: ignore[dict-item]
    assert (file.meta("a"), file.meta("b")) == (3, 4)
    assert not file._db.in_transaction


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

    monkeypatch.setattr(database.os, "_exit", end)
    monkeypatch.setattr(database.logs, "finish", lambda: done.append("log finished"))
    monkeypatch.setattr(database, "write_within", lambda *told: done.append(told))
    monkeypatch.setattr(file, "_db", Failing(error(code, "told \udcff by SQLite")))
    with pytest.raises(Ended):
        file.insert([(40, 0, b"x")])
    text = b"chatsvc: the log's disk failed (SQLITE_NAME: told ? by SQLite); ending at once\n"
    assert done == ["log finished", (2, text, database.logs.FLUSH_SECONDS), 74]


def test_a_transaction_that_fails_is_rolled_back(file: LogFile) -> None:
    with pytest.raises(LogUnavailable):
        file.replace([10], [record(20)], {})
    assert not file._db.in_transaction
    assert file.count() == 3


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


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: cannot use .*log\.db: "):
        LogFile(tmp_path / "log.db")


def test_a_newer_file_is_let_go_of(file: LogFile) -> None:
    file._db.execute("PRAGMA user_version=3")
    path = file.path
    file.close()
    with pytest.raises(VersionTooNew, match=r"has version 3; this program knows up to 2"):
        LogFile(path)
    assert not path.with_name("log.db-wal").exists()


def test_a_file_of_version_1_gets_the_tables_of_the_state(file: LogFile) -> None:
    for table in ("members", "channels", "filters"):
        file._db.execute(f"DROP TABLE {table}")
    file._db.execute("PRAGMA user_version=1")
    epoch, path = file.meta("epoch"), file.path
    file.close()
    with closing(LogFile(path)) as opened:
        assert (opened.meta("epoch"), opened.has_state()) == (epoch, False)
        assert opened._db.execute("PRAGMA user_version").fetchone() == (2,)
        assert not opened._db.in_transaction


@pytest.mark.parametrize(("trimmed", "known"), [(10, 29), (40, 40), (0, 0)])
def test_what_is_gone_from_a_file_of_version_1_was_trimmed(
    file: LogFile, trimmed: int, known: int
) -> None:
    """The program of that version may have trimmed, and does not say how far."""
    file._db.execute("DELETE FROM records")
    file.insert([(30, 0, b"")])
    file.set_meta("trimmed", trimmed)
    for table in ("members", "channels", "filters"):
        file._db.execute(f"DROP TABLE {table}")
    file._db.execute("PRAGMA user_version=1")
    path = file.path
    file.close()
    with closing(LogFile(path)) as opened:
        assert opened.meta("trimmed") == known
        opened.set_meta("trimmed", 10)
    with closing(LogFile(path)) as opened:
        assert opened.meta("trimmed") == 10, "of this version it says so itself"


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
