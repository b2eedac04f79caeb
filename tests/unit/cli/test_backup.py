"""``chatsvc backup`` and ``restore``: what they refuse, and that they then change nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from chatsvc.cli import backup as backup_module
from chatsvc.cli import main
from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.record import Record, checksum, pack
from chatsvc.log.local.damage import unfinished_loss
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.lock import DataDirLock
from chatsvc.storage.sqlite.store import SqliteStore
from testkit import record_form_1
from testkit.process import command
from testkit.records import record

Captured = pytest.CaptureFixture[str]
RECORDS = [record(number, f"message {number}") for number in range(1, 6)]


@pytest.fixture
def data(folder: Path) -> Path:
    """A ``DATA_DIR`` with five messages in the log and three of them in the store."""
    path = folder / "data"
    fill(path, RECORDS, stored=3)
    return path


def fill(path: Path, records: list[Record], stored: int) -> None:
    with contextlib.closing(LogFile(path / "log.db")) as log:
        for number, one in enumerate(records):
            packed = pack(one) if number % 2 else record_form_1.pack(one)
            log.insert([(one.id, checksum(one.id, packed), packed)])
        log.set_meta("watermark", records[stored - 1].id)

    async def store() -> None:
        store = SqliteStore(path / "store.db")
        await store.open()
        await store.write(records[:stored])
        await store.close()

    asyncio.run(store())


def ids(path: Path, table: str) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute(f"SELECT id FROM {table} ORDER BY id")]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(capsys: Captured, *argv: str, status: int = 2) -> str:
    """It ends with one line."""
    assert main(list(argv)) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("chatsvc: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_both_files_and_a_manifest_that_can_be_put_back(
    data: Path, folder: Path, capsys: Captured
) -> None:
    assert main(["backup", "copy"]) == 0
    assert capsys.readouterr().out == f"{folder / 'copy'}: 5 records of the log, verified\n"
    manifest = json.loads((folder / "copy" / "manifest.json").read_bytes())
    assert manifest["version"] == 1
    assert manifest["store"] == "sqlite"
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == (folder / "copy" / name).stat().st_size
    assert not (folder / "copy.part").exists()
    assert main(["restore", "copy", "--data-dir", "other"]) == 0
    assert capsys.readouterr().out == f"{folder / 'other'}: as of {manifest['made_at']}\n"
    assert ids(folder / "other" / "log.db", "records") == [one.id for one in RECORDS]
    assert ids(folder / "other" / "store.db", "messages") == [one.id for one in RECORDS[:3]]
    assert set(os.listdir(folder / "other")) == {"log.db", "store.db", "lock"}
    assert (folder / "other" / "log.db").stat().st_mode & 0o777 == 0o600


def test_beside_a_running_service(data: Path, folder: Path) -> None:
    lock = DataDirLock(data)
    lock.acquire()
    try:
        assert main(["backup", "copy"]) == 0
    finally:
        lock.release()


@pytest.mark.parametrize("name", ["copy", "copy.part"])
def test_it_overwrites_nothing(data: Path, folder: Path, capsys: Captured, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "file").write_text("precious")
    assert f"{folder / name} must not exist" in refused(capsys, "backup", "copy")
    assert (folder / name / "file").read_text() == "precious"


def test_where_it_cannot_be_written(data: Path, capsys: Captured) -> None:
    assert "cannot create" in refused(capsys, "backup", "/dev/null/copy")


@pytest.mark.parametrize("missing", ["log.db", "store.db"])
def test_without_a_service(data: Path, folder: Path, capsys: Captured, missing: str) -> None:
    (data / missing).unlink()
    assert f"there is no {missing} in {data}" in refused(capsys, "backup", "copy")
    assert not (folder / "copy").exists()


def test_a_folder_that_is_not_there_is_not_made(folder: Path, capsys: Captured) -> None:
    assert "no log.db and no store.db" in refused(capsys, "backup", "copy")
    assert os.listdir(folder) == []


def test_with_mongodb_the_log_alone_and_what_to_do_for_the_rest(
    data: Path, folder: Path, capsys: Captured
) -> None:
    assert main(["backup", "copy", "--store", "mongodb"]) == 0
    assert "mongodump --oplog" in capsys.readouterr().out
    assert sorted(os.listdir(folder / "copy")) == ["log.db", "manifest.json"]
    assert "STORE must be mongodb" in refused(capsys, "restore", "copy", "--data-dir", "other")
    assert main(["restore", "copy", "--data-dir", "other", "--store", "mongodb"]) == 0
    assert ids(folder / "other" / "log.db", "records") == [one.id for one in RECORDS]
    assert not (folder / "other" / "store.db").exists()


def damage_a_row(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE records SET crc=crc+1 WHERE id=?", (RECORDS[1].id,))
        db.commit()


def damage_a_page(path: Path) -> None:
    # Where the connections of a store close at the same time, none of them may be the last, and
    # the write-ahead log stays: what it holds would be read in place of the damaged page.
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = bytes(4096)
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "damage"),
    [("log.db", damage_a_row), ("log.db", damage_a_page), ("store.db", damage_a_page)],
)
def test_what_is_damaged_is_no_backup(
    data: Path, folder: Path, capsys: Captured, name: str, damage: Callable[[Path], None]
) -> None:
    damage(data / name)
    line = refused(capsys, "backup", "copy")
    assert name in line
    assert "damaged" in line
    assert not (folder / "copy").exists()
    assert not (folder / "copy.part").exists()


def test_a_log_that_was_trimmed_meanwhile_does_not_fit(
    data: Path, folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = backup_module.copy_database

    def slow(source: Path, target: Path) -> None:
        copy(source, target)
        if source.name == "store.db":
            with contextlib.closing(LogFile(data / "log.db")) as log:
                log.trim(RECORDS[3].id, 100)

    monkeypatch.setattr(backup_module, "copy_database", slow)
    assert "LOG_RETENTION_SECONDS" in refused(capsys, "backup", "copy", status=1)
    assert not (folder / "copy").exists()


# chatsvc restore


@pytest.fixture
def copy(data: Path, folder: Path) -> Path:
    assert main(["backup", "copy"]) == 0
    return folder / "copy"


def test_a_backup_that_is_not_what_was_written(copy: Path, folder: Path, capsys: Captured) -> None:
    capsys.readouterr()
    for name in ("log.db", "store.db"):
        whole = (copy / name).read_bytes()
        for changed in (whole[:-1], whole[:5000] + b"\x01" + whole[5001:]):
            (copy / name).write_bytes(changed)
            line = refused(capsys, "restore", "copy", "--data-dir", "other")
            assert f"{copy / name} is damaged" in line
            assert os.listdir(folder / "other") == ["lock"]
        (copy / name).write_bytes(whole)
    (copy / "store.db").unlink()
    assert "the backup is not complete" in refused(capsys, "restore", "copy", "--data-dir", "other")
    assert os.listdir(folder / "other") == ["lock"]


OTHER_FILES = """{"version": 1, "made_at": "", "program": "", "store": "sqlite",
    "files": {"../log.db": {"bytes": 1, "sha256": ""}}}"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is not a backup"),
        ("[]", "is not a backup"),
        ('{"version":1}', "is not a backup"),
        ("not json", "is not a backup"),
        ('{"version":2,"more":true}', "version 2; this program knows up to 1"),
        (OTHER_FILES, "names other files"),
    ],
)
def test_what_is_no_backup(copy: Path, capsys: Captured, text: str | None, said: str) -> None:
    capsys.readouterr()
    if text is None:
        (copy / "manifest.json").unlink()
    else:
        (copy / "manifest.json").write_text(text)
    assert said in refused(capsys, "restore", "copy", "--data-dir", "other")


def test_not_into_a_folder_in_use_or_with_a_log_or_a_store(
    copy: Path, data: Path, capsys: Captured
) -> None:
    capsys.readouterr()
    before = contents(data)
    assert f"{data} must not contain" in refused(capsys, "restore", "copy")
    lock = DataDirLock(data)
    lock.acquire()
    try:
        assert "is in use by process" in refused(capsys, "restore", "copy", "--force")
    finally:
        lock.release()
    for path in data.glob("log.db*"):
        path.unlink()
    assert "must not contain store.db" in refused(capsys, "restore", "copy")
    assert contents(data)["store.db"] == before["store.db"]


def test_force_keeps_the_old_files(copy: Path, data: Path, capsys: Captured) -> None:
    (data / "log.db-wal").write_bytes(b"of a crash")
    (data / "log.db-wal").chmod(0o600)
    unfinished_loss(data / "log.db").touch(mode=0o600)
    before = contents(data)
    del before["lock"]
    capsys.readouterr()
    assert main(["restore", "copy", "--force"]) == 0
    old_files = Path(capsys.readouterr().out.splitlines()[1].rpartition(" ")[2])
    assert contents(old_files) == before
    assert not (data / "log.db-wal").exists()
    assert not unfinished_loss(data / "log.db").exists(), "it is of the log that was there"


def test_new_ids_start_above_those_of_the_log_that_is_moved_aside(
    copy: Path, data: Path, capsys: Captured
) -> None:
    given = id_at(now_ms() + 86_400_000)  # under a clock that was a day ahead
    file = LogFile(data / "log.db")
    file.set_meta("watermark", given)
    file.close()
    assert main(["restore", "copy", "--force"]) == 0
    file = LogFile(data / "log.db")
    assert int(str(file.meta("base"))) > given
    file.close()
    (data / "log.db").write_bytes(b"no database" * 1000)
    capsys.readouterr()
    assert main(["restore", "copy", "--force"]) == 0
    assert "log.db cannot be read" in capsys.readouterr().out


def test_a_restore_that_did_not_end_keeps_the_service_from_starting(
    copy: Path, data: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would begin with an empty log beside the store, and call that all."""
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "log.db" and self.parent.name == "restore.part":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    capsys.readouterr()
    assert "Input/output error" in refused(capsys, "restore", "copy", "--force", status=1)
    monkeypatch.undo()
    monkeypatch.chdir(data.parent)
    served = command(data.parent, "serve", JWT_SECRET="x" * 32, PORT="0")
    assert served.returncode == 2
    assert "a restore into" in served.stderr
    assert "a restore into" in refused(capsys, "migrate")
    assert main(["restore", "copy", "--force"]) == 0
    assert ids(data / "log.db", "records") == [one.id for one in RECORDS]
    assert main(["migrate", "--check"]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_restores_belongs_to_the_folders_owner(copy: Path, folder: Path) -> None:
    (folder / "other").mkdir(mode=0o700)
    os.chown(folder / "other", 12345, 12346)
    assert main(["restore", "copy", "--data-dir", "other"]) == 0
    for name in ("log.db", "store.db", "lock"):
        state = (folder / "other" / name).stat()
        assert (state.st_uid, state.st_gid) == (12345, 12346), name
