"""A write-ahead log that is left beside a file that is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.log.local.in_place import InPlace

ENDS = ("", "-wal", "-shm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for end in ENDS:
        (tmp_path / f"x.db{end}").write_text("of before")
    return tmp_path


def replace(path: Path) -> None:
    """By a file that is there at the same time: so its inode is another."""
    other = path.with_name("another")
    other.write_text("of another")
    other.rename(path)


def there(folder: Path) -> list[str]:
    return [end for end in ENDS if (folder / f"x.db{end}").exists()]


def test_it_goes_where_the_file_was_replaced(folder: Path) -> None:
    place = InPlace(folder / "x.db")
    replace(folder / "x.db")
    place.drop_left_wal()
    assert there(folder) == [""]


def test_it_goes_where_the_file_was_removed_and_nothing_else_was_left(folder: Path) -> None:
    place = InPlace(folder / "x.db")
    (folder / "x.db").unlink()
    (folder / "x.db-shm").unlink()
    place.drop_left_wal()
    assert there(folder) == []


def test_it_stays_beside_its_own_file(folder: Path) -> None:
    InPlace(folder / "x.db").drop_left_wal()
    assert there(folder) == list(ENDS)


def test_another_files_own_is_left_alone(folder: Path) -> None:
    place = InPlace(folder / "x.db")
    for end in ("", "-wal"):
        replace(folder / f"x.db{end}")
    place.drop_left_wal()
    assert there(folder) == list(ENDS)


def test_one_that_was_never_seen_is_left_alone(folder: Path) -> None:
    (folder / "x.db-wal").unlink()
    place = InPlace(folder / "x.db")
    replace(folder / "x.db")
    place.drop_left_wal()
    assert there(folder) == ["", "-shm"]
    (folder / "x.db-wal").touch()
    place.drop_left_wal()
    assert there(folder) == list(ENDS)
