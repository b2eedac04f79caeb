"""What an open log deletes from its file, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import (
    LogUnavailable,
)
from chatsvc.core.ids import MAX_ID, now_ms
from chatsvc.log.local import key_file, maintenance, opening
from chatsvc.log.local import log as local
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import StoreState
from testkit.boot import Boot
from testkit.drafts import draft
from testkit.waiting import until
from tests.unit.support.local_logs import (
    HOUR,
    NOTHING,
    Open,
    ids,
    old_row,
    rows_on_disk,
    send,
    write_log,
)

WINDOW = 600_000


async def test_trim_takes_what_is_old_and_stored_but_never_the_newest(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_TRIM_ROWS", 7)
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    rows = [old_row(5 * HOUR, at) for at in range(50)]
    write_log(tmp_path, rows, watermark=rows[29][0], store="s")
    boot = Boot()
    log = await open_log(elapsed_clock=boot)
    await until(lambda: log.older_than(0) == rows[-1][0])
    boot.seconds += 3600 + 1
    await until(lambda: rows_on_disk(tmp_path) == 20)
    assert log._file.meta("trimmed") == rows[29][0]
    log.advance_watermark(rows[-1][0])
    await until(lambda: log._keys.position == rows[-1][0])
    await until(lambda: rows_on_disk(tmp_path) == 1)
    await log.close()
    log = await open_log(elapsed_clock=boot)
    assert rows[-1][0] - 1 <= log.tail.floor <= log.tail.head == rows[-1][0]
    assert (await send(log)).id > rows[-1][0]


async def test_trim_goes_by_time_passed_and_never_by_the_clock(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    rows = [old_row(-10 * 365 * 24 * HOUR, at) for at in range(5)]  # ten years ahead
    write_log(tmp_path, rows, watermark=rows[-1][0], store="s")
    log = await open_log(elapsed_clock=boot, retention_ms=0)
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
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    log = await open_log(elapsed_clock=boot, store=StoreState("s", None, 0))
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


async def test_retention_is_never_shorter_than_the_key_window(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    boot = Boot()
    log = await open_log(elapsed_clock=boot, retention_ms=0)
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
    log = await open_log(elapsed_clock=boot, retention_ms=0)
    assert ids(log) == [kept.id, newest.id]
    assert (await send(log, "kept", client_id="k")).duplicate


async def test_what_is_trimmed_is_stored_and_as_old_as_it_must_be(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = Boot()
    log = await open_log(
        elapsed_clock=boot, idempotency_ms=1000, retention_ms=600_000, store=NOTHING
    )
    sent = []
    for seconds in (0.5, 599.5, 0.0):
        sent.append((await log.append(draft())).id)
        log.maintenance.run()
        boot.seconds += seconds
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(log._positions, "trim", lambda *up_to: asked.append(up_to))
    log.maintenance._saved_keys.position = MAX_ID
    log.maintenance._trim()
    log.advance_watermark(sent[0] - 1)
    log.maintenance._trim()
    log.advance_watermark(sent[2])
    log.maintenance._trim()
    log.maintenance._saved_keys.position = sent[0] - 2
    log.maintenance._trim()
    assert asked == [(up_to, 1000) for up_to in (0, sent[0] - 1, sent[0], sent[0] - 2)]
