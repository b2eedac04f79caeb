"""What others may do with the files of ``DATA_DIR`` is taken from them, and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatsvc.log.local.privacy import Finding, close_to_others

OURS = ("log.db", "log.db-wal", "log.db-shm", "store.db", "store.db-wal", "store.db-shm", "lock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def open_to(path: Path, bits: int) -> Path:
    path.touch()
    path.chmod(bits)
    return path


@pytest.mark.parametrize("name", OURS)
def test_each_file_of_the_service_is_closed_and_named(folder: Path, name: str) -> None:
    path = open_to(folder / name, 0o664)
    before = os.listdir("/proc/self/fd")
    assert close_to_others(folder) == [Finding("data_file_was_open_to_others", path, "0664")]
    assert mode(path) == 0o600
    assert close_to_others(folder) == []
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("bits", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640])
def test_every_right_of_others_counts_and_the_owners_stay(folder: Path, bits: int) -> None:
    path = open_to(folder / "log.db", bits)
    (finding,) = close_to_others(folder)
    assert (finding.mode, mode(path)) == (f"{bits:04o}", 0o600)


def test_a_file_that_is_no_file_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "log.db").symlink_to(open_to(tmp_path / "elsewhere", 0o644))
    (folder / "store.db").mkdir(mode=0o755)
    os.mkfifo(folder / "lock", 0o644)
    (folder / "lock").chmod(0o644)
    assert close_to_others(folder) == []
    assert (mode(tmp_path / "elsewhere"), mode(folder / "store.db")) == (0o644, 0o755)
    assert mode(folder / "lock") == 0o644


def test_a_file_of_another_user_is_told_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = open_to(folder / "log.db", 0o644)

    def refused(descriptor: int, mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchmod", refused)
    assert close_to_others(folder) == [Finding("data_file_of_another_user", path, "0644")]
    assert mode(path) == 0o644


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o701])
def test_a_folder_that_is_open_to_others_is_told_and_left_alone(folder: Path, bits: int) -> None:
    folder.chmod(bits)
    assert close_to_others(folder) == [Finding("data_dir_open_to_others", folder, f"{bits:04o}")]
    assert mode(folder) == bits


@pytest.mark.parametrize(
    ("process", "told"),
    [(0, True), (1000, True), (12345, False)],
    ids=["root", "another user", "its owner"],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_folder_of_another_user_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, process: int, told: bool
) -> None:
    os.chown(folder, 12345, 12345)
    monkeypatch.setattr(os, "geteuid", lambda: process)
    found = close_to_others(folder)
    assert found == [Finding("data_dir_of_another_user", folder, "0700")] * told


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is made by root")
def test_a_folder_of_roots_is_nobody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert close_to_others(folder) == []


def test_a_folder_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        close_to_others(folder / "none")
