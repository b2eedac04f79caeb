"""Why a folder cannot be locked, whether it is tried or only asked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chatsvc.core.errors import ConfigurationError
from chatsvc.log.local.lock import UNFINISHED_RESTORE, DataDirInUse, DataDirLock

ASKED = ["acquire", "check"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


def refusal(folder: Path, asked: str) -> str:
    """The text; and nothing stays open, nor held."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigurationError) as raised:
        getattr(DataDirLock(folder), asked)()
    assert len(os.listdir("/proc/self/fd")) == before
    return str(raised.value)


@pytest.mark.parametrize("asked", ASKED)
def test_a_file_in_its_place(folder: Path, asked: str) -> None:
    (folder / "file").touch()
    expected = f"DATA_DIR: cannot use {folder / 'file'}: Not a directory"
    assert refusal(folder / "file", asked) == expected
    assert refusal(folder / "file" / "below", asked) == expected.replace("file:", "file/below:")


@pytest.mark.parametrize("asked", ASKED)
def test_a_link_to_nowhere_in_its_place(folder: Path, asked: str) -> None:
    (folder / "link").symlink_to(folder / "nowhere")
    expected = f"DATA_DIR: cannot use {folder / 'link'}: Not a directory"
    assert refusal(folder / "link", asked) == expected


@pytest.mark.parametrize("asked", ASKED)
def test_a_symbolic_link_in_place_of_the_lock(folder: Path, asked: str) -> None:
    (folder / "lock").symlink_to(folder / "victim")
    link = folder / "lock"
    expected = f"DATA_DIR: {link} is a symbolic link, which chatsvc never makes: remove it"
    assert refusal(folder, asked) == expected
    assert not (folder / "victim").exists()


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_no_file_in_place_of_the_lock(folder: Path, asked: str) -> None:
    os.mkfifo(folder / "lock")
    expected = f"DATA_DIR: cannot use {folder}: its lock is not a regular file"
    assert refusal(folder, asked) == expected


@pytest.mark.parametrize("asked", ASKED)
def test_a_restore_that_did_not_end(folder: Path, asked: str) -> None:
    (folder / UNFINISHED_RESTORE).mkdir()
    text = refusal(folder, asked)
    assert text.startswith(f"DATA_DIR: a restore into {folder} did not end, and a part")
    assert text.endswith("run `chatsvc restore` again")
    lock = DataDirLock(folder)
    lock.acquire(to_restore=True)
    lock.release()
    shutil.rmtree(folder / UNFINISHED_RESTORE)
    lock.acquire()
    lock.release()


def test_a_disk_that_takes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    expected = f"DATA_DIR: cannot use {folder}: No space left on device"
    assert refusal(folder, "acquire") == expected


def test_a_lock_that_was_never_taken_can_be_given_back(folder: Path) -> None:
    DataDirLock(folder).release()
    assert list(folder.iterdir()) == []


def test_to_ask_makes_nothing(folder: Path) -> None:
    DataDirLock(folder).check()
    DataDirLock(folder / "a" / "b").check()
    assert list(folder.iterdir()) == []


def test_to_ask_is_no_matter_of_who_holds_it_and_takes_nothing(folder: Path) -> None:
    holder = DataDirLock(folder)
    holder.acquire()
    DataDirLock(folder).check()
    with pytest.raises(DataDirInUse):
        DataDirLock(folder).acquire()
    holder.release()
    DataDirLock(folder).check()
    before = len(os.listdir("/proc/self/fd"))
    holder.acquire()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    holder.release()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("written", "named"), [(b"", "unknown"), (b" 42\n", "42"), (b"\xff4", "\ufffd4"),
                           (b"1" * 99, "1" * 64)]
)  # fmt: skip
def test_whatever_the_holder_wrote_the_refusal_names_it(
    folder: Path, written: bytes, named: str
) -> None:
    holder = DataDirLock(folder)
    holder.acquire()
    (folder / "lock").write_bytes(written)
    expected = (
        f"DATA_DIR: {folder} is in use by process {named}; "
        "stop it, or give this one a folder of its own"
    )
    assert refusal(folder, "acquire") == expected
    holder.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
@pytest.mark.parametrize(
    ("process", "folders", "locks"),
    [
        (0, (12345, 12346), (12345, 12346)),
        (1000, (12345, 12346), (0, 0)),
        (0, (0, 12346), (0, 0)),
    ],
)
def test_only_root_gives_a_lock_to_the_folders_owner(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    process: int,
    folders: tuple[int, int],
    locks: tuple[int, int],
) -> None:
    os.chown(folder, *folders)
    monkeypatch.setattr(os, "geteuid", lambda: process)
    lock = DataDirLock(folder)
    lock.acquire()
    lock.release()
    state = (folder / "lock").stat()
    assert (state.st_uid, state.st_gid) == locks
