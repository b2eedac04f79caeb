"""The local log over restarts, stores that come and go, and disks that fill."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import (
    ConfigurationError,
    LogDamaged,
    LogUnavailable,
    VersionTooNew,
)
from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import accept, checksum, pack
from chatsvc.log.base import Appended
from chatsvc.log.local import key_file, maintenance, opening
from chatsvc.log.local import log as local
from chatsvc.log.local.elapsed import ElapsedHeads, Instant
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.history.history import History
from chatsvc.storage.persister.persister import Persister
from tests.support.drafts import draft
from tests.support.memory_store import MemoryStore
from tests.support.waiting import until

ALL = Bounds(limit=100_000, newest=False)
HOUR = 3_600_000
WINDOW = 600_000
Open = Callable[..., Awaitable[LocalLog]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the log in this test's folder; closes what the test has left open."""
    logs: list[LocalLog] = []

    async def open_log(**options: Any) -> LocalLog:
        values: dict[str, Any] = {
            "recent_bytes": 1 << 20,
            "backlog_bytes": 1 << 30,
            "idempotency_ms": WINDOW,
            "idempotency_keys": 1000,
            "retention_ms": HOUR,
        }
        log = await LocalLog.open(tmp_path, **(values | options))
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        await log.close()


async def send(log: LocalLog, content: str = "x", **options: Any) -> Appended:
    return await asyncio.wait_for(log.append(draft(content, **options)), 30)


def old_row(ms_ago: int, at: int = 0, client_id: str | None = None) -> Row:
    record = accept(draft(f"old {at}", client_id=client_id), id_at(now_ms() - ms_ago) + at * STEP)
    data = pack(record)
    return record.id, checksum(record.id, data), data


def write(folder: Path, rows: list[Row], **meta: str | int) -> None:
    """A log as an earlier run left it."""
    file = LogFile(folder / "log.db")
    if rows:
        file.insert(rows)
    file.set_meta("created_ms", now_ms() - 24 * HOUR)
    for key, value in meta.items():
        file.set_meta(key, value)
    file.close()


def ids(log: LocalLog) -> list[int]:
    return [record.id for record in log.tail.page(ALL)]


async def test_a_restart_brings_back_records_watermark_and_epoch(opened: Open) -> None:
    log = await opened(store=StoreState("s", None, 0))
    sent = [await send(log, str(at)) for at in range(5)]
    log.advance_watermark(sent[2].id)
    epoch = log.epoch
    await log.close()
    again = await opened(store=StoreState("s", None, sent[2].id))
    assert again.epoch == epoch
    assert again.tail.watermark == sent[2].id
    assert again.tail.unsaved_count == 2
    assert ids(again) == [entry.id for entry in sent]
    assert (await send(again)).id > sent[-1].id


async def test_only_what_is_needed_is_read_at_the_start(tmp_path: Path, opened: Open) -> None:
    rows = [old_row(3 * HOUR, at) for at in range(50)] + [old_row(1000, at) for at in range(3)]
    write(tmp_path, rows, watermark=rows[-1][0])
    log = await opened(recent_bytes=3000)
    assert 2 <= len(log.tail) <= 5
    assert ids(log) == [row[0] for row in rows[-len(log.tail) :]]
    assert log.tail.floor == rows[-len(log.tail) - 1][0]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
async def test_a_backlog_of_any_length_is_read_back_whole_and_once(
    tmp_path: Path, opened: Open, count: int
) -> None:
    """At the bound of what is handed to the tail at once, and beside it."""
    rows = [old_row(HOUR, at) for at in range(count)]
    write(tmp_path, rows, store="s")
    log = await opened(store=StoreState("s", None, 0))
    expected = [row[0] for row in rows]
    assert ids(log) == expected
    assert (log.tail.unsaved_count, len(log.tail)) == (count, count)
    store = MemoryStore()
    history = History(store, log.tail)
    read: list[int] = []
    bounds = Bounds(700, newest=False)
    while True:
        page = await history.user_page("bob", bounds)
        assert page.complete
        read += [entry.id for entry in page.entries]
        if not page.has_more:
            break
        bounds = bounds._replace(after=read[-1])
    assert read == expected
    persister = Persister(log, store, batch_ms=1)
    persister.start()
    await until(lambda: log.tail.unsaved_count == 0)
    await persister.stop(drain=False)
    assert list(store.records) == expected


async def test_keys_outlive_a_restart_and_unstored_ones_the_window(
    tmp_path: Path, opened: Open
) -> None:
    rows = [
        old_row(3 * HOUR, 0, client_id="stored long ago"),
        old_row(3 * HOUR, 1, client_id="unstored"),
        old_row(60_000, 2, client_id="lately"),
    ]
    write(tmp_path, rows, watermark=rows[0][0])
    log = await opened()
    assert (await send(log, "old 1", client_id="unstored")).id == rows[1][0]
    assert (await send(log, "old 2", client_id="lately")).id == rows[2][0]
    assert not log.remembers(("alice", "alice,bob", "stored long ago"))


async def test_a_log_that_holds_a_key_twice_opens_and_goes_on(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [old_row(3 * HOUR, 0, client_id="k"), old_row(2 * HOUR, 1, client_id="k")]
    write(tmp_path, rows)
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    boot = Boot()
    log = await opened(elapsed_clock=boot)
    log.advance_watermark(rows[-1][0])
    await until(lambda: log.older_than(0) == rows[-1][0])
    assert log.remembers(("alice", "alice,bob", "k"))
    boot.seconds += WINDOW / 1000
    await until(lambda: not log.remembers(("alice", "alice,bob", "k")))
    assert len(log._keys) == 0


async def test_ids_go_on_above_the_logs_head(tmp_path: Path, opened: Open) -> None:
    ahead = old_row(-24 * HOUR)
    write(tmp_path, [ahead])
    log = await opened()
    assert (await send(log)).id == ahead[0] + STEP, "the clock went back a day meanwhile"


async def test_ids_ahead_of_the_clock_are_told(tmp_path: Path, opened: Open) -> None:
    write(tmp_path, [old_row(-24 * HOUR)])
    with capture_logs() as lines:
        log = await opened()
    assert 24 * 3600 - 60 < log.ahead_seconds <= 24 * 3600
    (line,) = [line for line in lines if line["event"] == "clock_behind_log"]
    assert line["seconds"] == pytest.approx(24 * 3600, abs=60)


async def test_ids_of_a_right_clock_are_not_ahead(tmp_path: Path, opened: Open) -> None:
    write(tmp_path, [old_row(HOUR)])
    with capture_logs() as lines:
        log = await opened()
        await send(log)
    assert log.ahead_seconds < 1
    assert not [line for line in lines if line["event"] == "clock_behind_log"]


async def test_a_watermark_above_the_head_is_damage(tmp_path: Path, opened: Open) -> None:
    row = old_row(HOUR)
    write(tmp_path, [row], watermark=row[0] + STEP)
    with pytest.raises(LogDamaged, match="the end of the log is missing"):
        await opened()


async def test_a_row_that_fails_its_checksum_is_damage_and_is_named(
    tmp_path: Path, opened: Open
) -> None:
    rows = [old_row(1000, at) for at in range(3)]
    write(tmp_path, rows)
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE records SET data = zeroblob(length(data)) WHERE id=?", (rows[1][0],))
    db.close()
    with pytest.raises(LogDamaged, match=f"{rows[1][0]:016x} fails its checksum"):
        await opened()


async def test_a_row_that_moved_is_damage(tmp_path: Path, opened: Open) -> None:
    row = old_row(1000)
    write(tmp_path, [(row[0] + STEP, row[1], row[2])])
    with pytest.raises(LogDamaged, match="checksum"):
        await opened()


async def test_a_page_that_lists_its_rows_wrongly_is_damage(tmp_path: Path, opened: Open) -> None:
    """SQLite reads such a page without an error, and rows are missing."""
    write(tmp_path, [old_row(HOUR, at) for at in range(6)])
    path = tmp_path / "log.db"
    data = bytearray(path.read_bytes())
    leaf = next(at for at in range(4096, len(data), 4096) if data[at] == 0x0D and data[at + 4] == 6)
    data[leaf + 8 : leaf + 12] = data[leaf + 12 : leaf + 16]  # two of its six cell pointers
    path.write_bytes(data)
    before = path.read_bytes()
    with pytest.raises(LogDamaged, match="a page is damaged"):
        await opened()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_log_is_damage(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "log.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(LogDamaged, match="cannot be opened as a log"):
        await opened()


async def test_a_newer_file_is_not_touched(tmp_path: Path, opened: Open) -> None:
    write(tmp_path, [])
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(VersionTooNew, match="version 99"):
        await opened()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, opened: Open) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="DATA_DIR"):
        await opened()


async def test_a_full_disk_refuses_keeps_nothing_and_goes_on_by_itself(opened: Open) -> None:
    log = await opened()
    first = await send(log)
    db = log._file._db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(LogUnavailable) as raised:
        await send(log, "x" * 15_000, client_id="k")
    assert raised.value.code == "disk_full"
    assert raised.value.retry_after > 0
    assert ids(log) == [first.id]
    db.execute("PRAGMA max_page_count=1000000")
    again = await send(log, "x" * 15_000, client_id="k")
    assert not again.duplicate
    assert ids(log) == [first.id, again.id]
    await log.close()
    reopened = await opened()
    assert ids(reopened) == [first.id, again.id]


async def test_a_disk_nearly_full_refuses_before_it_is_full(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10_000

    class Disk:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            return free

    monkeypatch.setattr(maintenance.os, "statvfs", lambda _: Disk())
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    log = await opened(min_free_bytes=5_000)
    await send(log)
    assert log.refusal is None
    free = 4_999
    await until(lambda: log.refusal is not None)
    with pytest.raises(LogUnavailable) as raised:
        await send(log)
    assert raised.value.code == "disk_full"
    free = 5_000
    await until(lambda: log.refusal is None)
    await send(log)


async def test_too_much_that_is_not_stored_refuses_until_it_is(opened: Open) -> None:
    log = await opened(backlog_bytes=50_000)
    sent: list[Appended] = []
    with pytest.raises(LogUnavailable) as raised:
        while len(sent) < 100:
            sent.append(await send(log, "x" * 1000, sender=f"user {len(sent)}"))
    assert raised.value.code == "backlog_full"
    assert 5 < len(sent) < 50
    assert log.refusal is not None
    log.advance_watermark(sent[-1].id)
    assert log.refusal is None
    await send(log)


async def test_what_is_queued_counts_towards_the_backlog(opened: Open) -> None:
    log = await opened(backlog_bytes=50_000)
    futures = [log.append(draft("x" * 5000)) for _ in range(50)]
    done, _ = await asyncio.wait(futures, timeout=30)
    refused = [future for future in done if future.exception() is not None]
    assert len(done) == 50
    assert len(refused) >= 35


async def test_what_is_written_counts_as_what_its_record_takes(opened: Open) -> None:
    log = await opened()
    sends = [log.append(draft("x" * size, to=(f"u{size % 3}",))) for size in range(1, 40)]
    sends += [log.append(draft(f"{size}", to=("u0", "u1"), sender="bob")) for size in range(5)]
    await asyncio.gather(*sends)
    assert log.tail.unsaved_count == 44
    assert log.tail.backlog.total == log.tail.unsaved_bytes > 0
    log.advance_watermark(log.tail.head)
    assert log.tail.backlog.total == log.tail.unsaved_bytes == len(log.tail.backlog) == 0


class Boot:
    """Seconds of one boot of the machine, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> Instant:
        return Instant("boot", self.seconds)


async def test_trim_takes_what_is_old_and_stored_but_never_the_newest(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_TRIM_ROWS", 7)
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    rows = [old_row(5 * HOUR, at) for at in range(50)]
    write(tmp_path, rows, watermark=rows[29][0], store="s")
    boot = Boot()
    log = await opened(elapsed_clock=boot)
    await until(lambda: log.older_than(0) == rows[-1][0])
    boot.seconds += 3600 + 1
    await until(lambda: rows_on_disk(tmp_path) == 20)
    assert log._file.meta("trimmed") == rows[29][0]
    log.advance_watermark(rows[-1][0])
    await until(lambda: log._keys.position == rows[-1][0])
    await until(lambda: rows_on_disk(tmp_path) == 1)
    await log.close()
    log = await opened(elapsed_clock=boot)
    assert rows[-1][0] - 1 <= log.tail.floor <= log.tail.head == rows[-1][0]
    assert (await send(log)).id > rows[-1][0]


async def test_trim_goes_by_time_passed_and_never_by_the_clock(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    rows = [old_row(-10 * 365 * 24 * HOUR, at) for at in range(5)]  # ten years ahead
    write(tmp_path, rows, watermark=rows[-1][0], store="s")
    log = await opened(elapsed_clock=boot, retention_ms=0)
    with monkeypatch.context() as patch:
        patch.setattr(local, "now_ms", lambda: now_ms() + 20 * 365 * 24 * HOUR)
        patch.setattr(opening, "now_ms", lambda: now_ms() + 20 * 365 * 24 * HOUR)
        await until(lambda: log.older_than(0) == rows[-1][0])
        log.maintenance._trim()
        await call_in_thread(lambda: None, log._worker.maintain)
    assert rows_on_disk(tmp_path) == 5, "a wrong clock deletes nothing"
    boot.seconds += WINDOW / 1000 + 121
    await until(lambda: rows_on_disk(tmp_path) == 1)


async def test_a_watermark_that_could_not_be_saved_is_not_trimmed_by(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    log = await opened(elapsed_clock=boot, store=StoreState("s", None, 0))
    sent = [await send(log, str(at)) for at in range(5)]
    real, full = log._file.set_metas, True

    def set_metas(values: dict[str, str | int]) -> None:
        if full and "watermark" in values:
            raise LogUnavailable("the log's disk is full", code="disk_full")
        real(values)

    monkeypatch.setattr(log._file, "set_metas", set_metas)
    with capture_logs() as lines:
        log.advance_watermark(sent[-1].id)
        await until(lambda: any(line["event"] == "watermark_not_saved" for line in lines))
        await until(lambda: log.older_than(0) == sent[-1].id)
        boot.seconds += 24 * 3600
        await until(lambda: log.maintenance._saved_keys.position >= sent[-1].id)
        log.maintenance.run()
        await call_in_thread(lambda: None, log._worker.maintain)
    assert rows_on_disk(tmp_path) == 5
    full = False
    await until(lambda: rows_on_disk(tmp_path) == 1)
    assert log._file.meta("watermark") == sent[-1].id


def rows_on_disk(folder: Path) -> int:
    db = sqlite3.connect(f"{(folder / 'log.db').as_uri()}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        db.close()


async def test_retention_is_never_shorter_than_the_key_window(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    log = await opened(elapsed_clock=boot, retention_ms=0)
    old = await send(log, "old")
    await until(lambda: log.older_than(0) == old.id)
    boot.seconds += 500
    kept = await send(log, "kept", client_id="k")
    newest = await send(log)
    await until(lambda: log.older_than(0) == newest.id)
    boot.seconds += WINDOW / 1000 - 1
    log.advance_watermark(newest.id)
    await until(lambda: rows_on_disk(tmp_path) == 2)
    await log.close()
    log = await opened(elapsed_clock=boot, retention_ms=0)
    assert ids(log) == [kept.id, newest.id]
    assert (await send(log, "kept", client_id="k")).duplicate


async def test_the_write_ahead_log_stays_small(tmp_path: Path, opened: Open) -> None:
    log = await opened()
    for _ in range(12):
        await asyncio.gather(*(log.append(draft("x" * 10_000)) for _ in range(100)))
    assert (tmp_path / "log.db-wal").stat().st_size < 12 * 1024 * 1024
    assert (tmp_path / "log.db").stat().st_size > 4 * 1024 * 1024


async def test_a_checkpoint_that_fails_stops_nobody(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened()

    def fails() -> None:
        raise LogUnavailable("the log cannot write (SQLITE_LOCKED)")

    monkeypatch.setattr(log._file, "checkpoint_if_due", fails)
    await send(log)
    await send(log)
    monkeypatch.undo()


async def test_the_watermark_is_saved_without_being_asked(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    log = await opened()
    sent = await send(log)
    log.advance_watermark(sent.id)
    await until(lambda: log._file.meta("watermark") == sent.id)


async def test_commits_are_observed(opened: Open) -> None:
    seen: list[tuple[int, float]] = []
    log = await opened(observe=lambda records, seconds: seen.append((records, seconds)))
    await asyncio.gather(*(log.append(draft()) for _ in range(10)))
    assert sum(records for records, _ in seen) == 10
    assert all(seconds >= 0 for _, seconds in seen)


async def test_closing_ends_its_thread(opened: Open) -> None:
    log = await opened()
    await send(log)
    thread = next(one for one in threading.enumerate() if one.name == "chatsvc-log")
    await log.close()
    await log.close()
    assert not thread.is_alive()
    with pytest.raises(LogUnavailable) as raised:
        await send(log)
    assert raised.value.code == "shutting_down"


async def test_the_head_is_noted_by_elapsed_time_and_outlives_the_process(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    boot = Boot()
    log = await opened(elapsed_clock=boot)
    first = await send(log)
    await until(lambda: log.older_than(0) == first.id)
    boot.seconds += 100
    second = await send(log)
    await until(lambda: log.older_than(0) == second.id)
    assert log.older_than(100) == first.id
    await log.close()
    boot.seconds += 1000
    log = await opened(elapsed_clock=boot)
    assert log.older_than(1000) == second.id
    assert log.older_than(1100) == first.id
    assert log.older_than(1101) == 0


async def test_what_was_noted_is_saved_now_and_then(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process has lost the notes of a minute at most."""
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(maintenance, "_SAVE_ELAPSED_SECONDS", 0.02)
    log = await opened(elapsed_clock=Boot())
    first = await send(log)

    def saved() -> int:
        db = sqlite3.connect(tmp_path / "log.db")
        try:
            row = db.execute("SELECT value FROM meta WHERE key='elapsed'").fetchone()
        finally:
            db.close()
        return ElapsedHeads(row[0] if row else None, clock=Boot()).older_than(0)

    await until(lambda: saved() == first.id)
