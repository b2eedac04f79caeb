"""``chatsvc config --check`` finds what ``chatsvc serve`` refuses, and says it in its words."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.process import command, running

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


def open_secret(data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "dev-secret").write_text("x" * 40)
    (data / "dev-secret").chmod(0o644)


def is_a_file(data: Path) -> None:
    data.write_text("")


VARIABLES = [
    {"JWT_SECRET": ""},
    {"JWT_SECRET": "short-hunter2"},
    {"JWT_SECRET_FILE": "/nowhere/secret"},
    {"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"},
    {"PORT": "many"},
    {"HOST": "192.0.2.1"},
    {"HOST": "no-such-name.invalid"},
    {"CORS_ORIGINS": "https://app.example.org/"},
    {"DEV_LOGIN": "loopback", "HOST": "0.0.0.0"},
    {"STORE": "mongodb", "MONGO_URI": "http://chat:hunter2@db"},
    {"STORE": "mongodb", "MONGO_DB": "a.b"},
    {"STORE": "mongodb", "MONGO_COLLECTION": "$a"},
    {"DATA_DIR": "/dev/null/x"},
]
FOLDERS: list[tuple[Callable[[Path], None], dict[str, str]]] = [
    (newer_log, {}),
    (linked_lock, {}),
    (lock_that_is_a_folder, {}),
    (half_restored, {}),
    (is_a_file, {}),
    (open_secret, {"DEV_LOGIN": "loopback"}),
]


def refusals(folder: Path, **variables: str) -> tuple[str, str]:
    """What the check and the service say; each one line, with status 2."""
    given = {"JWT_SECRET": SECRET, "PORT": "0", **variables}
    lines: list[str] = []
    for argv in (["config", "--check"], ["serve"]):
        done = command(folder, *argv, **given)
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
