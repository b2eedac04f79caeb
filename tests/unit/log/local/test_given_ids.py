"""The highest id of a log that is only looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatsvc.core.ids import id_at
from chatsvc.log.local import given_ids
from chatsvc.log.local.elapsed import ElapsedHeads
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.given_ids import ID_MARGIN, above_all_given, highest_given


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("log.db", "log.db-wal")}


@pytest.mark.parametrize(
    "known_by",
    ["record", "base", "trimmed", "start", "watermark", "settled", "unconfirmed", "elapsed"],
)
def test_a_log_as_a_crash_left_it_is_read_and_not_changed(tmp_path: Path, known_by: str) -> None:
    file = LogFile(tmp_path / "running" / "log.db")
    file.insert([(1000 if known_by == "record" else 1, 0, b"")])
    if known_by == "elapsed":
        heads = ElapsedHeads()
        heads.note(1000)
        file.set_meta("elapsed", heads.save().decode())
    elif known_by != "record":
        file.set_meta(known_by, 1000)
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path / "running", crashed)
    file.close()
    (crashed / "log.db-shm").unlink(missing_ok=True)
    before = files(crashed)
    assert highest_given(crashed / "log.db") == 1000
    assert files(crashed) == before


def test_a_closed_log_is_read(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    file.insert([(7, 0, b"")])
    file.close()
    assert highest_given(tmp_path / "log.db") == 7


def test_a_file_that_is_no_log_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"not a database" * 100)
    assert highest_given(tmp_path / "log.db") is None
    assert highest_given(tmp_path / "absent.db") is None


def test_an_empty_log_tells_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a folder?mode=rwc#"
    LogFile(folder / "log.db").close()
    monkeypatch.chdir(folder)
    assert highest_given(Path("log.db")) == 0


def test_the_margin_is_above_the_highest_of_all_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_ids, "now_ms", lambda: 17)
    file = LogFile(tmp_path / "log.db")
    assert above_all_given(file) == id_at(17) + ID_MARGIN
    assert above_all_given(file, id_at(18)) == id_at(18) + ID_MARGIN
    file.insert([(id_at(19), 0, b"")])
    assert above_all_given(file, id_at(18)) == id_at(19) + ID_MARGIN
    file.set_meta("base", id_at(20))
    assert above_all_given(file, id_at(18)) == id_at(20) + ID_MARGIN
    file.close()
