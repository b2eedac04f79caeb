"""What an open log does beside its commits, and that a commit which fails is never called kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import LogUnavailable, TooManyRequests
from chatsvc.core.ids import MAX_ID
from chatsvc.log.local import maintenance, opening
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.record_reader import Row
from chatsvc.log.reconcile import StoreState
from tests.support.boot import Boot
from tests.support.drafts import draft

SAVE_SECONDS = 60.0
NOTHING = StoreState("s", None, 0)
Open = Callable[..., Awaitable[LocalLog]]


class Time:
    """The loop of a log, at a time that is set by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time()
        self._loop = loop

    def time(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_whatever_a_commit_fails_of_nothing_of_it_is_called_kept(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()

    def fails(rows: Sequence[Row]) -> None:
        raise OverflowError("a fault of the program")

    monkeypatch.setattr(log._file, "insert", fails)
    with pytest.raises(LogUnavailable, match="the log cannot write"):
        await log.append(draft("lost", client_id="k"))
    assert (len(log.tail), log.refusal) == (0, None)
    monkeypatch.undo()
    assert not (await log.append(draft("lost", client_id="k"))).duplicate
    assert log._file.count() == 1


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


async def test_a_key_is_kept_until_its_window_is_over(open_log: Open) -> None:
    boot = Boot()
    log = await open_log(elapsed_clock=boot, idempotency_ms=600_000, store=NOTHING)
    sent = await log.append(draft(client_id="k"))
    log.advance_watermark(sent.id)
    remembered = []
    for seconds in (0.0, 599.75, 0.25):
        boot.seconds += seconds
        log.maintenance.run()
        remembered.append(log.remembers(("alice", "alice,bob", "k")))
    assert remembered == [True, True, False]


async def test_bounds_are_each_senders_own(open_log: Open) -> None:
    log = await open_log(backlog_bytes=100_000, new_conversations=1)
    sent = 0
    with pytest.raises(TooManyRequests) as raised:
        while sent < 100:
            await log.append(draft("x" * 1000, sender="bulk"))
            sent += 1
    assert raised.value.code == "sender_backlog_full"
    await log.append(draft("x", sender="alice"))
    with pytest.raises(TooManyRequests) as raised:
        await log.append(draft("x", sender="alice", to=("carol",)))
    assert raised.value.code == "too_many_conversations"


def test_a_steady_clock_goes_on_by_the_time_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Boot()
    monkeypatch.setattr(opening, "now_ms", lambda: 5_000)
    clock = opening._steady_clock(boot)
    monkeypatch.setattr(opening, "now_ms", lambda: 99_000)
    assert clock() == 5_000
    boot.seconds += 3.5
    assert clock() == 8_500
