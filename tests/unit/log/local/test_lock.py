"""One process per folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import ConfigurationError
from chatsvc.log.local.lock import DataDirLock

HOLDER = """
import sys
from pathlib import Path
from chatsvc.log.local.lock import DataDirLock
DataDirLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    first = DataDirLock(tmp_path)
    first.acquire()
    with pytest.raises(ConfigurationError) as raised:
        DataDirLock(tmp_path).acquire()
    assert f"in use by process {os.getpid()};" in str(raised.value)
    assert "\n" not in str(raised.value)
    first.release()
    first.release()
    second = DataDirLock(tmp_path)
    second.acquire()
    second.release()


def test_it_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ConfigurationError, match=f"process {process.pid};"):
            DataDirLock(tmp_path).acquire()
        process.kill()
        process.wait(30)
    lock = DataDirLock(tmp_path)
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n", "nothing of the longer id is left"
    lock.release()


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path / "a" / "b")
    lock.acquire()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "lock").stat().st_mode & 0o777 == 0o600
    lock.release()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="DATA_DIR: cannot use"):
        DataDirLock(tmp_path / "file").acquire()


def test_a_symbolic_link_in_place_of_the_lock_is_refused_and_its_target_left_alone(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    data = tmp_path / "data"
    data.mkdir()
    (data / "lock").symlink_to(victim)
    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: [^\n]*lock is a symbolic link"):
        DataDirLock(data).acquire()
    assert victim.read_text() == "precious"


def test_what_is_no_file_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        DataDirLock(tmp_path).acquire()


def test_files_that_others_may_read_are_closed_to_them_and_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("log.db", "store.db-wal", "lock"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    (tmp_path / "store.db").touch(0o600)
    (tmp_path / "of-another-program").touch()
    (tmp_path / "of-another-program").chmod(0o644)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    elsewhere.chmod(0o644)
    (tmp_path / "log.db-shm").symlink_to(elsewhere)
    lock = DataDirLock(tmp_path)
    with capture_logs() as lines:
        lock.acquire()
    lock.release()
    found = {(line["event"], Path(line["path"]).name, line["mode"]) for line in lines}
    assert found == {
        ("data_dir_open_to_others", tmp_path.name, "0755"),
        ("data_file_was_open_to_others", "log.db", "0644"),
        ("data_file_was_open_to_others", "store.db-wal", "0644"),
        ("data_file_was_open_to_others", "lock", "0644"),
    }
    for name in ("log.db", "store.db-wal", "lock", "store.db"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name
    for name in ("elsewhere", "of-another-program"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644, name
    with capture_logs() as lines:
        lock.acquire()
    lock.release()
    assert [line["event"] for line in lines] == ["data_dir_open_to_others"]


@pytest.mark.parametrize("below", ["data", "data/new", "data/new/../../../other/new", "data/x/.."])
def test_a_check_leaves_nothing_behind(tmp_path: Path, below: str) -> None:
    (tmp_path / "data").mkdir()
    DataDirLock(tmp_path / "data" / below).check()
    DataDirLock(tmp_path / below).check()
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]


def test_a_check_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """The outermost of the new folders can be made."""
    with pytest.raises(ConfigurationError, match="File name too long"):
        DataDirLock(tmp_path / "new" / ("x" * 256) / "y").check()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_said_of_a_folder_that_is_private(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path / "data")
    with capture_logs() as lines:
        lock.acquire()
    lock.release()
    assert lines == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_lock_that_root_makes_is_the_folders_owners(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12345, 12346)
    lock = DataDirLock(data)
    lock.acquire()
    lock.release()
    state = (data / "lock").stat()
    assert (state.st_uid, state.st_gid) == (12345, 12346)
