"""``chatsvc config --check`` finds what ``chatsvc serve`` refuses, and says it in its words."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.process import command, running

SECRET = "0123456789abcdef0123456789abcdef"


def prepared(data: Path) -> Path:
    """A ``DATA_DIR`` as a service leaves it."""
    with running(data.parent, "serve", JWT_SECRET=SECRET, PORT="0") as process:
        process.wait_for('"event":"started"', err=True)
        assert process.stop() == 0
    return data


def newer_log(data: Path) -> None:
    with contextlib.closing(sqlite3.connect(prepared(data) / "log.db")) as db:
        db.execute("PRAGMA user_version=99")


def newer_store(data: Path) -> None:
    with contextlib.closing(sqlite3.connect(prepared(data) / "store.db")) as db:
        db.execute("UPDATE meta SET value='99' WHERE name='version'")
        db.commit()


def no_log(data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "log.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    (data / "log.db").chmod(0o600)


def linked_lock(data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "lock").symlink_to(data / "elsewhere")


def lock_that_is_a_folder(data: Path) -> None:
    (data / "lock").mkdir(parents=True)


def half_restored(data: Path) -> None:
    (data / "restore.part").mkdir(parents=True)


def log_that_is_a_folder(data: Path) -> None:
    (data / "log.db").mkdir(parents=True)
    data.chmod(0o700)


def open_secret(data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "dev-secret").write_text("x" * 40)
    (data / "dev-secret").chmod(0o644)


def is_a_file(data: Path) -> None:
    data.write_text("")


def links_to_itself(data: Path) -> None:
    data.symlink_to(data)


def links_to_nowhere(data: Path) -> None:
    data.symlink_to("nowhere")


VARIABLES = [
    {"JWT_SECRET": ""},
    {"JWT_SECRET": "short-hunter2"},
    {"JWT_SECRET_FILE": "/nowhere/secret"},
    {"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"},
    {"PORT": "many"},
    {"DRAIN_SECONDS": "300"},
    {"DRAIN_SECONDS": "2", "SHUTDOWN_SECONDS": "3.9"},
    {"HOST": "192.0.2.1"},
    {"HOST": "no-such-name.invalid"},
    {"CORS_ORIGINS": "https://app.example.org/"},
    {"DEV_LOGIN": "loopback", "HOST": "0.0.0.0"},
    {"STORE": "mongodb", "MONGO_URI": "http://chat:hunter2@db"},
    {"STORE": "mongodb", "MONGO_DB": "a.b"},
    {"STORE": "mongodb", "MONGO_COLLECTION": "$a"},
    {"DATA_DIR": "/dev/null/x"},
    {"DATA_DIR": "/proc/x"},
    {"DATA_DIR": "/proc"},
    {"DATA_DIR": "/proc/self/fd/x/y"},
    {"DATA_DIR": "x" * 256},
    {"DATA_DIR": f"new/{'x' * 256}"},
    {"DATA_DIR": "~no-such-user/x"},
]
FOLDERS: list[tuple[Callable[[Path], None], dict[str, str]]] = [
    (newer_log, {}),
    (linked_lock, {}),
    (lock_that_is_a_folder, {}),
    (half_restored, {}),
    (log_that_is_a_folder, {}),
    (is_a_file, {}),
    (links_to_itself, {}),
    (links_to_nowhere, {}),
    (open_secret, {"DEV_LOGIN": "loopback"}),
]


def refusals(folder: Path, *prefix: str, **variables: str) -> tuple[str, str]:
    """What the check and the service say; each one line, with status 2.

    Args:
        prefix: a command that runs the command that follows it.
    """
    given = {"JWT_SECRET": SECRET, "PORT": "0", **variables}
    lines: list[str] = []
    for argv in (["config", "--check"], ["serve"]):
        done = command(folder, *argv, prefix=prefix, **given)
        assert done.returncode == 2, (argv, done)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert "hunter2" not in done.stderr
        lines.append(done.stderr)
    return lines[0], lines[1]


@pytest.mark.parametrize("variables", VARIABLES, ids="-".join)
def test_settings_that_are_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    checked, served = refusals(tmp_path, **variables)
    assert checked == served


@pytest.mark.parametrize(
    ("prepare", "variables"), FOLDERS, ids=[one.__name__ for one, _ in FOLDERS]
)
def test_folders_that_are_refused(
    tmp_path: Path, prepare: Callable[[Path], None], variables: dict[str, str]
) -> None:
    prepare(tmp_path / "data")
    checked, served = refusals(tmp_path, **variables)
    assert checked == served


def without_privileges() -> list[str]:
    """A command that runs another one for which the modes of files hold, also as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def under_read_only_mount(folder: Path) -> list[str]:
    """A command that runs another one for which ``folder`` is mounted read-only."""
    mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("needs the right to mount")
    return prefix


@pytest.mark.parametrize("data", ["closed", "closed/new", "closed/new/below"])
def test_folders_that_may_not_be_written_are_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    checked, served = refusals(tmp_path, *without_privileges(), DATA_DIR=data)
    assert checked == served
    assert "Permission denied" in checked


@pytest.mark.parametrize("data", ["mount", "mount/new"])
def test_folders_of_a_read_only_file_system_are_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "mount").mkdir()
    checked, served = refusals(tmp_path, *under_read_only_mount(tmp_path / "mount"), DATA_DIR=data)
    assert checked == served
    assert "Read-only file system" in checked


def test_a_folder_below_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    checked, served = refusals(tmp_path, DATA_DIR="loop/data")
    assert checked == served
    assert "Not a directory" in checked


def test_a_log_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    log = prepared(tmp_path / "data") / "log.db"
    log.chmod(0o400)
    checked, served = refusals(tmp_path, *without_privileges())
    assert checked == served == f"chatsvc: DATA_DIR: cannot use {log}: Permission denied\n"


@pytest.mark.parametrize("prepare", [newer_store, no_log])
def test_files_that_are_refused_in_other_words(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    """The check opens them to read alone."""
    prepare(tmp_path / "data")
    refusals(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_a_configuration_that_is_good_changes_nothing(tmp_path: Path, taken: int) -> None:
    """The port may be the running service's."""
    for variables in (
        {"JWT_SECRET": SECRET},
        {"DEV_LOGIN": "loopback"},
        {"JWT_SECRET": SECRET, "DATA_DIR": "a/b/../c"},
        {"JWT_SECRET": SECRET, "STORE": "mongodb", "MONGO_URI": "mongodb://192.0.2.1"},
    ):
        done = command(tmp_path, "config", "--check", PORT=str(taken), **variables)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "chatsvc serve would start with these settings\n"
    assert list(tmp_path.iterdir()) == []


def test_beside_the_running_service(tmp_path: Path) -> None:
    with running(tmp_path, "serve", JWT_SECRET=SECRET, PORT="0") as process:
        process.wait_for('"event":"started"', err=True)
        done = command(tmp_path, "config", "--check", JWT_SECRET=SECRET, MONGODB_URI="x")
        assert done.returncode == 0
        assert "MONGODB_URI is set but not read" in done.stderr
        assert process.stop() == 0
