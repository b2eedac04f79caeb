"""When pages of the log's write-ahead log are moved home, and when it is cut back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.log.local import checkpoints
from chatsvc.log.local.file import LogFile
from tests.unit.support.failing_sqlite import Failing, error

PAGE = 4096


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "log.db")
    made.insert([(at, 0, b"x") for at in (10, 20, 30)])
    yield made
    made.abandon()


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
    monkeypatch.setattr(checkpoints, "_CHECKPOINT_BYTES", written + 1)
    file.checkpoint_if_due()
    assert asked == []
    monkeypatch.setattr(checkpoints, "_CHECKPOINT_BYTES", written)
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
    monkeypatch.setattr(checkpoints, "WAL_BYTES", size)
    assert file.shrink_wal()
    assert asked == []
    monkeypatch.setattr(checkpoints, "WAL_BYTES", size - 1)
    assert not file.shrink_wal()
    assert asked == [("PASSIVE", 0), ("TRUNCATE", 100)]


@pytest.mark.parametrize("answer", [None, (0, 5, 4)])
def test_it_is_not_cut_while_pages_of_it_are_not_home(
    file: LogFile, asked: Checkpoints, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    asked.answer = answer
    monkeypatch.setattr(checkpoints, "WAL_BYTES", 0)
    assert not file.shrink_wal()
    assert asked == [("PASSIVE", 0)]


def test_closing_waits_as_a_commit_does(file: LogFile, asked: Checkpoints) -> None:
    file.close()
    assert asked == [("TRUNCATE", 1000)]
    assert file.path.exists()
