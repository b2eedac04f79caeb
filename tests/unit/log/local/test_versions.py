"""The version of a log's file, told without changing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import LogDamaged
from chatsvc.log.local import versions
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.versions import log_versions


def test_where_there_is_no_file_none_is_made(tmp_path: Path) -> None:
    assert log_versions(tmp_path / "log.db") == (0, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_log_has_the_version_that_it_was_written_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder?mode=rwc#"
    LogFile(folder / "log.db").close()
    assert log_versions(folder / "log.db") == (2, 2)
    with closing(sqlite3.connect(folder / "log.db")) as db:
        db.execute("PRAGMA user_version=99")
    monkeypatch.chdir(folder)
    assert log_versions(Path("log.db")) == (99, 2)


def test_what_is_no_log_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"something else entirely" * 1000)
    with pytest.raises(LogDamaged, match=rf"^{path} cannot be read as a log: file is not a data"):
        log_versions(path)


def test_a_file_that_another_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LogFile(tmp_path / "log.db").close()
    waited: list[float] = []

    def retry(call: Callable[[], Any], seconds: float) -> Any:
        waited.append(seconds)
        return call()

    monkeypatch.setattr(versions, "retry_while_busy", retry)
    assert log_versions(tmp_path / "log.db") == (2, 2)
    assert waited == [5.0]
