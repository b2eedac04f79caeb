"""The local log over restarts: what it finds of before, and what it refuses to open."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import (
    ConfigurationError,
    LogDamaged,
    VersionTooNew,
)
from chatsvc.core.ids import STEP
from chatsvc.core.page import Bounds
from chatsvc.log.local import maintenance
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.history.history import History
from chatsvc.storage.persister.persister import Persister
from testkit.boot import Boot
from testkit.memory_store import MemoryStore
from testkit.waiting import until
from tests.unit.support.local_logs import (
    HOUR,
    Open,
    ids,
    old_row,
    send,
    write_log,
)

WINDOW = 600_000


async def test_a_restart_brings_back_records_watermark_and_epoch(open_log: Open) -> None:
    log = await open_log(store=StoreState("s", None, 0))
    sent = [await send(log, str(at)) for at in range(5)]
    log.advance_watermark(sent[2].id)
    epoch = log.epoch
    await log.close()
    again = await open_log(store=StoreState("s", None, sent[2].id))
    assert again.epoch == epoch
    assert again.tail.watermark == sent[2].id
    assert again.tail.unsaved_count == 2
    assert ids(again) == [entry.id for entry in sent]
    assert (await send(again)).id > sent[-1].id


async def test_only_what_is_needed_is_read_at_the_start(tmp_path: Path, open_log: Open) -> None:
    rows = [old_row(3 * HOUR, at) for at in range(50)] + [old_row(1000, at) for at in range(3)]
    write_log(tmp_path, rows, watermark=rows[-1][0])
    log = await open_log(recent_bytes=3000)
    assert 2 <= len(log.tail) <= 5
    assert ids(log) == [row[0] for row in rows[-len(log.tail) :]]
    assert log.tail.floor == rows[-len(log.tail) - 1][0]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
async def test_a_backlog_of_any_length_is_read_back_whole_and_once(
    tmp_path: Path, open_log: Open, count: int
) -> None:
    """At the bound of what is handed to the tail at once, and beside it."""
    rows = [old_row(HOUR, at) for at in range(count)]
    write_log(tmp_path, rows, store="s")
    log = await open_log(store=StoreState("s", None, 0))
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
    tmp_path: Path, open_log: Open
) -> None:
    rows = [
        old_row(3 * HOUR, 0, client_id="stored long ago"),
        old_row(3 * HOUR, 1, client_id="unstored"),
        old_row(60_000, 2, client_id="lately"),
    ]
    write_log(tmp_path, rows, watermark=rows[0][0])
    log = await open_log()
    assert (await send(log, "old 1", client_id="unstored")).id == rows[1][0]
    assert (await send(log, "old 2", client_id="lately")).id == rows[2][0]
    assert not log.first_use(("alice", "alice,bob", "stored long ago"))


async def test_a_log_that_holds_a_key_twice_opens_and_goes_on(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [old_row(3 * HOUR, 0, client_id="k"), old_row(2 * HOUR, 1, client_id="k")]
    write_log(tmp_path, rows)
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    boot = Boot()
    log = await open_log(elapsed_clock=boot)
    log.advance_watermark(rows[-1][0])
    await until(lambda: log.older_than(0) == rows[-1][0])
    assert log.first_use(("alice", "alice,bob", "k"))
    boot.seconds += WINDOW / 1000
    await until(lambda: not log.first_use(("alice", "alice,bob", "k")))
    assert len(log._keys) == 0


async def test_ids_go_on_above_the_logs_head(tmp_path: Path, open_log: Open) -> None:
    ahead = old_row(-24 * HOUR)
    write_log(tmp_path, [ahead])
    log = await open_log()
    assert (await send(log)).id == ahead[0] + STEP, "the clock went back a day meanwhile"


async def test_ids_ahead_of_the_clock_are_told(tmp_path: Path, open_log: Open) -> None:
    write_log(tmp_path, [old_row(-24 * HOUR)])
    with capture_logs() as lines:
        log = await open_log()
    assert 24 * 3600 - 60 < log.ahead_seconds <= 24 * 3600
    (line,) = [line for line in lines if line["event"] == "clock_behind_log"]
    assert line["seconds"] == pytest.approx(24 * 3600, abs=60)


async def test_ids_of_a_right_clock_are_not_ahead(tmp_path: Path, open_log: Open) -> None:
    write_log(tmp_path, [old_row(HOUR)])
    with capture_logs() as lines:
        log = await open_log()
        await send(log)
    assert log.ahead_seconds < 1
    assert not [line for line in lines if line["event"] == "clock_behind_log"]


async def test_a_watermark_above_the_head_is_damage(tmp_path: Path, open_log: Open) -> None:
    row = old_row(HOUR)
    write_log(tmp_path, [row], watermark=row[0] + STEP)
    with pytest.raises(LogDamaged, match="the end of the log is missing"):
        await open_log()


async def test_a_row_that_fails_its_checksum_is_damage_and_is_named(
    tmp_path: Path, open_log: Open
) -> None:
    rows = [old_row(1000, at) for at in range(3)]
    write_log(tmp_path, rows)
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE records SET data = zeroblob(length(data)) WHERE id=?", (rows[1][0],))
    db.close()
    with pytest.raises(LogDamaged, match=f"{rows[1][0]:016x} fails its checksum"):
        await open_log()


async def test_a_row_that_moved_is_damage(tmp_path: Path, open_log: Open) -> None:
    row = old_row(1000)
    write_log(tmp_path, [(row[0] + STEP, row[1], row[2])])
    with pytest.raises(LogDamaged, match="checksum"):
        await open_log()


async def test_a_page_that_lists_its_rows_wrongly_is_damage(tmp_path: Path, open_log: Open) -> None:
    """SQLite reads such a page without an error, and rows are missing."""
    write_log(tmp_path, [old_row(HOUR, at) for at in range(6)])
    path = tmp_path / "log.db"
    data = bytearray(path.read_bytes())
    leaf = next(at for at in range(4096, len(data), 4096) if data[at] == 0x0D and data[at + 4] == 6)
    data[leaf + 8 : leaf + 12] = data[leaf + 12 : leaf + 16]  # two of its six cell pointers
    path.write_bytes(data)
    before = path.read_bytes()
    with pytest.raises(LogDamaged, match="a page is damaged"):
        await open_log()
    assert path.read_bytes() == before


async def test_a_file_that_is_no_log_is_damage(tmp_path: Path, open_log: Open) -> None:
    (tmp_path / "log.db").write_bytes(b"something else entirely" * 1000)
    with pytest.raises(LogDamaged, match="cannot be opened as a log"):
        await open_log()


async def test_a_newer_file_is_not_touched(tmp_path: Path, open_log: Open) -> None:
    write_log(tmp_path, [])
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(VersionTooNew, match="version 99"):
        await open_log()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, open_log: Open) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="DATA_DIR"):
        await open_log()
