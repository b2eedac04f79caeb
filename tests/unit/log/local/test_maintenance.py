"""What an open log does once a second, beside its commits."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import (
    LogUnavailable,
)
from chatsvc.log.local import maintenance
from chatsvc.log.local.elapsed import ElapsedHeads
from chatsvc.log.local.file import LogFile
from testkit.boot import Boot
from testkit.drafts import draft
from testkit.waiting import until
from tests.unit.support.local_logs import (
    NOTHING,
    Open,
    send,
)

SAVE_SECONDS = 60.0


class Time:
    """The loop of a log, at a time that is set by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time()
        self._loop = loop

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_a_disk_nearly_full_refuses_before_it_is_full(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10_000

    class Disk:
        f_frsize = 1

        @property
        def f_bavail(self) -> int:
            return free

    monkeypatch.setattr(maintenance.os, "statvfs", lambda _: Disk())
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    log = await open_log(min_free_bytes=5_000)
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


async def test_the_write_ahead_log_stays_small(tmp_path: Path, open_log: Open) -> None:
    log = await open_log()
    for _ in range(12):
        await asyncio.gather(*(log.append(draft("x" * 10_000)) for _ in range(100)))
    assert (tmp_path / "log.db-wal").stat().st_size < 12 * 1024 * 1024
    assert (tmp_path / "log.db").stat().st_size > 4 * 1024 * 1024


async def test_the_watermark_is_saved_without_being_asked(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    log = await open_log()
    sent = await send(log)
    log.advance_watermark(sent.id)
    await until(lambda: log._file.meta("watermark") == sent.id)


async def test_the_head_is_noted_by_elapsed_time_and_outlives_the_process(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    boot = Boot()
    log = await open_log(elapsed_clock=boot)
    first = await send(log)
    await until(lambda: log.older_than(0) == first.id)
    boot.seconds += 100
    second = await send(log)
    await until(lambda: log.older_than(0) == second.id)
    assert log.older_than(100) == first.id
    await log.close()
    boot.seconds += 1000
    log = await open_log(elapsed_clock=boot)
    assert log.older_than(1000) == second.id
    assert log.older_than(1100) == first.id
    assert log.older_than(1101) == 0


async def test_what_was_noted_is_saved_now_and_then(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process has lost the notes of a minute at most."""
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(maintenance, "_SAVE_ELAPSED_SECONDS", 0.02)
    log = await open_log(elapsed_clock=Boot())
    first = await send(log)

    def saved() -> int:
        db = sqlite3.connect(tmp_path / "log.db")
        try:
            row = db.execute("SELECT value FROM meta WHERE key='elapsed'").fetchone()
        finally:
            db.close()
        return ElapsedHeads(row[0] if row else None, clock=Boot()).older_than(0)

    await until(lambda: saved() == first.id)


async def test_what_was_noted_is_saved_again_after_a_minute(open_log: Open) -> None:
    log = await open_log()
    time = Time(log._loop)
    log.maintenance._loop = time  # type: ignore[assignment]
    log.maintenance._elapsed_saved_at = began = time.now
    time.now = began + SAVE_SECONDS - 0.25
    log.maintenance.run()
    assert log.maintenance._elapsed_saved_at == began
    time.now = began + SAVE_SECONDS
    log.maintenance.run()
    assert log.maintenance._elapsed_saved_at == time.now


async def test_free_space_is_blocks_of_their_size(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(f_bavail=25, f_frsize=200)
    monkeypatch.setattr(maintenance.os, "statvfs", lambda _: disk)
    log = await open_log(min_free_bytes=5_000)
    log.maintenance.run()
    assert log.refusal is None
    disk.f_bavail = 24
    with capture_logs() as lines:
        for _ in range(2):
            log.maintenance.run()
    assert [line["event"] for line in lines] == ["disk_space_low"], "it is said once"
    with pytest.raises(LogUnavailable, match="disk is nearly full") as raised:
        await log.append(draft())
    assert (raised.value.code, raised.value.retry_after) == ("disk_full", 5.0)
    disk.f_bavail = 25
    with capture_logs() as lines:
        for _ in range(2):
            log.maintenance.run()
    assert [line["event"] for line in lines] == ["disk_space_recovered"]
    assert log.refusal is None


async def test_a_disk_that_cannot_be_looked_at_changes_nothing(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(min_free_bytes=1)

    def fails(_: object) -> None:
        raise OSError("the disk is away")

    monkeypatch.setattr(maintenance.os, "statvfs", fails)
    with capture_logs() as lines:
        log.maintenance._look_at_disk()
    assert [line["event"] for line in lines] == ["disk_not_readable"]
    assert log.refusal is None


async def test_the_write_ahead_log_is_looked_at_each_time(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()
    looked = asyncio.Event()

    def shrink_wal(_: LogFile) -> bool:
        log._loop.call_soon_threadsafe(looked.set)
        return True

    monkeypatch.setattr(LogFile, "shrink_wal", shrink_wal)
    log.maintenance.run()
    await asyncio.wait_for(looked.wait(), 30)


async def test_a_key_is_kept_until_its_window_is_over(open_log: Open) -> None:
    boot = Boot()
    log = await open_log(elapsed_clock=boot, idempotency_ms=600_000, store=NOTHING)
    sent = await log.append(draft(client_id="k"))
    log.advance_watermark(sent.id)
    remembered = []
    for seconds in (0.0, 599.75, 0.25):
        boot.seconds += seconds
        log.maintenance.run()
        remembered.append(log.first_use(("alice", "alice,bob", "k")) is not None)
    assert remembered == [True, True, False]
