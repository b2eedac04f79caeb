"""A copy of a database: how it is opened, that it is durable, and what each failure is called."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import ConfigurationError, LogDamaged, Unavailable
from chatsvc.log.local import snapshot
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.snapshot import copy_database, oldest, oldest_needed


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder?mode=rwc#"
    with closing(LogFile(folder / "log.db")) as file:
        file.insert([(7, 0, b"")])
    return folder / "log.db"


def test_it_is_opened_for_reading_alone_and_waits_ten_seconds(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, seen = sqlite3.connect, []

    def noted(target: str, **options: Any) -> sqlite3.Connection:
        seen.append(options)
        return connect(target, **options)

    monkeypatch.setattr(snapshot.sqlite3, "connect", noted)
    monkeypatch.chdir(log.parent)
    assert oldest(Path("log.db")) == 7
    assert seen == [{"uri": True, "timeout": 10.0, "isolation_level": None}]
    with snapshot._reading(log) as db, pytest.raises(sqlite3.Error, match="readonly"):
        db.execute("DELETE FROM records")
    with pytest.raises(sqlite3.Error, match="closed"):
        db.execute("SELECT 1")


def test_a_copy_is_on_the_disk_when_it_is_said_to_be_made(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    target = log.with_name("copy")
    before = len(os.listdir("/proc/self/fd"))
    copy_database(log, target)
    assert synced == [str(target)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert oldest(target) == 7


def test_a_link_to_nowhere_is_not_followed_by_a_copy(log: Path) -> None:
    target = log.with_name("copy")
    target.symlink_to(log.with_name("elsewhere"))
    with pytest.raises(ConfigurationError, match=r"copy exists: nothing is written over it"):
        copy_database(log, target)
    assert not log.with_name("elsewhere").exists()


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (sqlite3.SQLITE_CANTOPEN, ConfigurationError, "cannot use {}: told"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, ConfigurationError, "cannot use {}: told"),
        (sqlite3.SQLITE_PERM, ConfigurationError, "cannot use {}: told"),
        (sqlite3.SQLITE_AUTH, ConfigurationError, "cannot use {}: told"),
        (sqlite3.SQLITE_CORRUPT, LogDamaged, "{} is damaged: told"),
        (sqlite3.SQLITE_NOTADB, LogDamaged, "{} is damaged: told"),
        (sqlite3.SQLITE_FULL, Unavailable, "{} could not be copied or read: told"),
        (None, Unavailable, "{} could not be copied or read: told"),
    ],
)
def test_a_failure_is_called_by_what_can_be_done_about_it(
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int | None,
    kind: type[Exception],
    text: str,
) -> None:
    error = sqlite3.OperationalError("told")
    if code is not None:
        error.sqlite_errorcode = code

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(snapshot.sqlite3, "connect", fails)
    with pytest.raises(kind) as raised:
        oldest_needed(log)
    assert str(raised.value) == text.format(log)
    assert type(raised.value) is kind
