"""The local log: what it accepts, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from chatsvc.core.errors import (
    LogUnavailable,
    TooManyRequests,
)
from chatsvc.log.base import Appended, LogCounts
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.refusals import DISK
from testkit.drafts import draft
from tests.unit.support.local_logs import (
    Open,
    ids,
    send,
)


async def test_a_full_disk_refuses_keeps_nothing_and_goes_on_by_itself(open_log: Open) -> None:
    log = await open_log()
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
    reopened = await open_log()
    assert ids(reopened) == [first.id, again.id]


async def test_too_much_that_is_not_stored_refuses_until_it_is(open_log: Open) -> None:
    log = await open_log(backlog_bytes=50_000)
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


async def test_what_is_queued_counts_towards_the_backlog(open_log: Open) -> None:
    log = await open_log(backlog_bytes=50_000)
    futures = [log.append(draft("x" * 5000)) for _ in range(50)]
    done, _ = await asyncio.wait(futures, timeout=30)
    refused = [future for future in done if future.exception() is not None]
    assert len(done) == 50
    assert len(refused) >= 35


async def test_what_is_written_counts_as_what_its_record_takes(open_log: Open) -> None:
    log = await open_log()
    sends = [log.append(draft("x" * size, to=(f"u{size % 3}",))) for size in range(1, 40)]
    sends += [log.append(draft(f"{size}", to=("u0", "u1"), sender="bob")) for size in range(5)]
    await asyncio.gather(*sends)
    assert log.tail.unsaved_count == 44
    assert log.tail.backlog.total == log.tail.unsaved_bytes > 0
    log.advance_watermark(log.tail.head)
    assert log.tail.backlog.total == log.tail.unsaved_bytes == len(log.tail.backlog) == 0


async def test_a_checkpoint_that_fails_stops_nobody(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()

    def fails() -> None:
        raise LogUnavailable("the log cannot write (SQLITE_LOCKED)")

    monkeypatch.setattr(log._file, "checkpoint_if_due", fails)
    await send(log)
    await send(log)
    monkeypatch.undo()


async def test_commits_are_observed(open_log: Open) -> None:
    seen: list[tuple[int, float]] = []
    log = await open_log(observe=lambda records, seconds: seen.append((records, seconds)))
    await asyncio.gather(*(log.append(draft()) for _ in range(10)))
    assert sum(records for records, _ in seen) == 10
    assert all(seconds >= 0 for _, seconds in seen)


async def test_closing_ends_its_thread(open_log: Open) -> None:
    log = await open_log()
    await send(log)
    thread = next(one for one in threading.enumerate() if one.name == "chatsvc-log")
    await log.close()
    await log.close()
    assert not thread.is_alive()
    with pytest.raises(LogUnavailable) as raised:
        await send(log)
    assert raised.value.code == "shutting_down"


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
    assert log.counts == LogCounts(over_share=1, over_new_conversations=1)


async def test_what_was_taken_is_written_though_nothing_more_is_taken(open_log: Open) -> None:
    log = await open_log()
    taken = log.append(draft())
    log._refusals.begin(DISK, LogUnavailable("the disk is nearly full", code="disk_full"))
    with pytest.raises(LogUnavailable, match="nearly full"):
        await log.append(draft())
    assert (await asyncio.wait_for(taken, 30)).id == log.tail.head
