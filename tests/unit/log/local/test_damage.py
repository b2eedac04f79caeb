"""A log whose write-ahead log lost more than its end is refused, and a copy is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.core.errors import LogDamaged
from chatsvc.log.local.damage import keep_copy, unfinished_loss
from chatsvc.log.local.file import LogFile


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
