"""One process per folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatsvc.core.errors import ConfigurationError
from chatsvc.log.lock import DataDirLock

HOLDER = """
import sys
from pathlib import Path
from chatsvc.log.lock import DataDirLock
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
        cwd=Path(__file__).parents[3],
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
