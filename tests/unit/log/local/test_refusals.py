"""A log whose file another process holds, or that is not where it was."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bench.floods import write_lock
from chatsvc.core.errors import ConfigurationError, LogUnavailable
from chatsvc.core.page import Bounds
from chatsvc.log.local import checkpoints, database
from chatsvc.log.local import file as log_file
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.in_place import InPlace
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.refusals import Refusals, watch_place
from testkit.drafts import draft
from testkit.waiting import until

Open = Callable[..., Awaitable[LocalLog]]


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "COMMIT_PATIENCE_MS", 50)


async def refused(log: LocalLog, **options: str) -> LogUnavailable:
    with pytest.raises(LogUnavailable) as raised:
        await asyncio.wait_for(log.append(draft(**options)), 30)
    return raised.value


async def test_a_foreign_lock_refuses_sends_and_lets_go_by_itself(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log()
    await log.append(draft("before"))
    with write_lock(tmp_path / "log.db"):
        error = await refused(log, content="under the lock")
        assert (error.code, error.retry_after) == ("log_busy", 2.0)
        assert log.refusal is not None
        assert log.refusal.code == "log_busy"
        # From now on nothing waits for the lock: there is no commit to wait for.
        future = log.append(draft("at once"))
        assert future.done()
        assert isinstance(future.exception(), LogUnavailable)
    await until(lambda: log.refusal is None)
    await log.append(draft("after"))
    await log.close()
    file = LogFile(tmp_path / "log.db")
    kept = [record.body for record in file.read(0)]
    file.close()
    assert [b"before" in body or b"after" in body for body in kept] == [True, True]


async def test_all_that_waits_behind_a_locked_commit_is_answered_with_it(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()
    inserts: list[int] = []
    insert = LogFile.insert
    monkeypatch.setattr(
        LogFile, "insert", lambda self, rows: (inserts.append(len(rows)), insert(self, rows))[1]
    )
    with write_lock(tmp_path / "log.db"):
        futures = [log.append(draft(str(number))) for number in range(1000)]
        done = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 30)
    assert len(inserts) == 1, "one commit waited, and the others did not"
    assert {getattr(one, "code", None) for one in done} == {"log_busy"}
    assert log.tail.backlog.total == 0


async def test_a_retry_of_what_the_lock_refused_is_one_message(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log()
    with write_lock(tmp_path / "log.db"):
        await refused(log, client_id="k")
    await until(lambda: log.refusal is None)
    first = await log.append(draft(client_id="k"))
    assert not first.duplicate
    assert (await log.append(draft(client_id="k"))).id == first.id
    assert len(log.tail) == 1


async def test_housekeeping_does_not_wait_for_the_lock(tmp_path: Path, open_log: Open) -> None:
    log = await open_log()
    sent = await log.append(draft())
    with write_lock(tmp_path / "log.db"):
        log.advance_watermark(sent.id)
        with capture_logs() as lines:
            log._positions.save()
            log.maintenance._save_elapsed()
            for event in ("watermark_not_saved", "log_maintenance_delayed"):
                await until(lambda event=event: any(line["event"] == event for line in lines))
    assert log.refusal is None, "no send met the lock"


async def test_closing_under_the_lock_ends(tmp_path: Path, open_log: Open) -> None:
    log = await open_log()
    with write_lock(tmp_path / "log.db"):
        await refused(log)
        await asyncio.wait_for(log.close(), 20)


def test_a_file_that_is_held_at_the_start_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_OPEN_SECONDS", 0.05)
    monkeypatch.setattr(database, "_PATIENCE_MS", 10)
    sqlite3.connect(tmp_path / "log.db").close()
    with (
        write_lock(tmp_path / "log.db"),
        pytest.raises(ConfigurationError, match="another program holds"),
    ):
        LogFile(tmp_path / "log.db")


async def test_an_unlinked_file_is_noticed(tmp_path: Path, open_log: Open) -> None:
    log = await open_log()
    await log.append(draft())
    with capture_logs() as lines:
        (tmp_path / "log.db").rename(tmp_path / "elsewhere")
        await until(lambda: log.refusal is not None)
        error = await refused(log)
        assert error.code == "log_file_missing"
        assert [line["log_level"] for line in lines if line["event"] == "log_file_missing"] == [
            "critical"
        ]
        (tmp_path / "elsewhere").rename(tmp_path / "log.db")
        await until(lambda: log.refusal is None)
    assert any(line["event"] == "log_file_back" for line in lines)
    await log.append(draft())


async def test_a_file_that_is_replaced_before_a_stop_is_whole_at_the_next_start(
    tmp_path: Path, open_log: Open
) -> None:
    """As by an operator who puts a copy in its place, and restarts the service."""
    log = await open_log()
    kept = await log.append(draft())
    copied = sqlite3.connect(tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "log.db") as source:
        source.backup(copied)
    source.close()
    copied.close()
    for number in range(9):
        await log.append(draft(str(number) * 9000))
    (tmp_path / "copy.db").rename(tmp_path / "log.db")
    await log.close()
    again = await open_log()
    assert [one.id for one in again.tail.page(Bounds(99))] == [kept.id]
    assert list(again._file.bad_rows()) == []


def place_of(folder: Path) -> tuple[InPlace, sqlite3.Connection]:
    db = sqlite3.connect(folder / "x.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t (x)")
    return InPlace(folder / "x.db"), db


def test_each_way_to_lose_a_file_is_told(tmp_path: Path) -> None:
    place, db = place_of(tmp_path)
    path, wal = tmp_path / "x.db", tmp_path / "x.db-wal"
    assert place.find_error() is None
    shutil.copy(path, tmp_path / "copy")
    path.rename(tmp_path / "kept")
    assert place.find_error() == f"{path} was removed"
    (tmp_path / "copy").rename(path)
    assert place.find_error() == f"{path} was replaced"
    (tmp_path / "kept").rename(path)
    assert place.find_error() is None
    wal.rename(tmp_path / "wal")
    assert place.find_error() == f"{wal} was removed"
    wal.touch()
    assert place.find_error() == f"{wal} was replaced"
    db.close()


def test_a_log_that_was_not_there_yet_is_known_once_it_is(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").close()
    place = InPlace(tmp_path / "x.db")
    assert place.find_error() is None
    (tmp_path / "x.db-wal").touch()
    assert place.find_error() is None
    (tmp_path / "x.db-wal").unlink()
    assert place.find_error() is not None


def test_a_folder_that_cannot_be_looked_at_changes_nothing(tmp_path: Path) -> None:
    place, db = place_of(tmp_path)
    db.close()
    refusals = Refusals()
    shutil.rmtree(tmp_path)
    tmp_path.touch()
    with capture_logs() as lines:
        watch_place(place, refusals)
    assert refusals.first is None
    assert lines[0]["event"] == "log_file_unknown"


def test_causes_begin_and_end_each_by_its_own() -> None:
    refusals = Refusals()
    one, other = LogUnavailable("one"), LogUnavailable("other")
    assert refusals.begin("a", one)
    assert not refusals.begin("a", one)
    assert refusals.begin("b", other)
    assert refusals.first is one
    assert refusals.end("a")
    assert not refusals.end("a")
    assert refusals.first is other
    assert "b" in refusals
    assert refusals.end("b")
    assert refusals.first is None


def large_wal(path: Path, size: int) -> tuple[LogFile, int]:
    """A log whose write-ahead log a reader has kept from being moved home."""
    file = LogFile(path)
    file.never_wait()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchone()
    last = 0
    while file.wal_size() <= size:
        last += 1
        file.insert([(last, 0, b"x" * 1_000_000)])
        file.checkpoint_if_due()
    assert not file.shrink_wal(), "a reader is in the way"
    reader.execute("ROLLBACK")
    reader.close()
    return file, last


def test_the_write_ahead_log_shrinks_after_a_burst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "WAL_BYTES", 3_000_000)
    file, last = large_wal(tmp_path / "log.db", 8_000_000)
    assert file.shrink_wal()
    assert file.wal_size() == 0
    assert file.shrink_wal(), "nothing to do"
    assert (file.count(), file.head()) == (last, last)
    file.close()


async def test_a_service_that_goes_on_cuts_it_back_by_itself(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()
    reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchone()
    for _ in range(10):
        await log.append(draft("x" * 200_000))
    wal = tmp_path / "log.db-wal"
    assert wal.stat().st_size > 2_000_000
    monkeypatch.setattr(checkpoints, "WAL_BYTES", 1_000_000)
    reader.execute("ROLLBACK")
    reader.close()
    await until(lambda: wal.stat().st_size <= 1_000_000)
    await log.append(draft())
