"""What the local log takes over when it is opened, and what it assumes where nothing is said."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record, accept
from chatsvc.log.backlog import lists_bytes
from chatsvc.log.base import AHEAD_SECONDS
from chatsvc.log.local import log as local
from chatsvc.log.local import maintenance
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import StoreState
from testkit.boot import Boot
from testkit.client_ids import uuid7_at
from testkit.drafts import draft
from tests.unit.support.log_rows import row

ALL = Bounds(limit=1000, newest=False)
NOTHING = StoreState("s", None, 0)
HOUR = 3_600_000
WINDOW_SECONDS = 600
Open = Callable[..., Awaitable[LocalLog]]


def write(folder: Path, record_ids: list[int], **meta: str | int) -> list[Record]:
    """A log as an earlier run left it."""
    records = [accept(draft(str(record_id)), record_id) for record_id in record_ids]
    file = LogFile(folder / "log.db")
    file.insert([row(one) for one in records])
    file.set_metas(meta)
    file.close()
    return records


def set_watermark(folder: Path, watermark: int) -> None:
    file = LogFile(folder / "log.db")
    file.set_meta("watermark", watermark)
    file.close()


def key(client_id: str) -> tuple[str, str, str]:
    return "alice", "alice,bob", client_id


async def test_an_end_that_a_crash_tore_is_told_and_a_whole_one_is_not(
    tmp_path: Path, open_log: Open
) -> None:
    with capture_logs() as lines:
        log = await open_log()
    assert lines == []
    log.maintenance.stop()  # what it writes must not be the end that is torn off
    await call_in_thread(lambda: None, log._worker.maintain)
    for at in range(2):
        await log.append(draft(str(at)))
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(tmp_path / name, torn)
    with (torn / "log.db-wal").open("r+b") as wal:
        size = wal.seek(0, 2)
        wal.truncate(size - 10)
    with capture_logs() as lines:
        again = await LocalLog.open(
            torn,
            recent_bytes=1 << 20,
            backlog_bytes=1 << 20,
            idempotency_ms=1000,
            idempotency_keys=10,
            retention_ms=1000,
        )
    assert [line["event"] for line in lines] == ["log_end_torn"]
    assert 0 < lines[0]["offset"] < size - 10
    assert len(again.tail) == 1
    await again.close()


async def test_what_a_store_may_hold_of_a_log_ahead_of_the_clock_is_asked_for_until_it_answers(
    tmp_path: Path, open_log: Open
) -> None:
    """What was taken out of the log is as new as its head at most, whatever the clock says."""
    start, boot = now_ms(), Boot()
    write(tmp_path, [id_at(start + 10 * HOUR)], store="s")
    log = await open_log(elapsed_clock=boot)
    assert log.tail.confirmed is False
    boot.seconds += 20 * 3600  # what is minted ahead of the clock is none of it now
    assert not log.knows_key(key(uuid7_at(start + 9 * HOUR)))
    assert log.knows_key(key(uuid7_at(start + 11 * HOUR)))


async def test_what_is_stored_and_a_window_old_is_not_read_into_memory(open_log: Open) -> None:
    boot = Boot()
    log = await open_log(elapsed_clock=boot, store=NOTHING)
    sent = []
    for seconds in (0.5, WINDOW_SECONDS - 0.5, 0.0):
        sent.append((await log.append(draft())).id)
        log.maintenance.run()
        boot.seconds += seconds
    log.advance_watermark(sent[2])
    epoch = log.epochs[-1]
    await log.close()
    store = StoreState("s", None, sent[2])
    log = await open_log(elapsed_clock=boot, store=store)
    assert log.epochs[-1] == epoch
    assert log.tail.floor == sent[0]
    assert [one.id for one in log.tail.page(ALL)] == sent[1:]


async def test_what_would_not_fit_into_memory_is_not_even_read(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = id_at(now_ms() - HOUR)
    records = write(tmp_path, [first + at * STEP for at in range(50)], store="s")
    set_watermark(tmp_path, records[-1].id)
    read, asked = LogFile.read, []

    def noted(self: LogFile, after: int) -> Generator[Record, None, None]:
        asked.append(after)
        return read(self, after)

    monkeypatch.setattr(LogFile, "read", noted)
    log = await open_log(recent_bytes=5000, store=StoreState("s", None, records[-1].id))
    assert 1 <= len(log.tail) <= 8
    assert records[40].id <= asked[0] <= log.tail.floor


async def test_what_is_lost_is_remembered_and_new_ids_are_above_what_a_store_holds(
    tmp_path: Path, open_log: Open
) -> None:
    first = id_at(now_ms() - HOUR)
    base = id_at(now_ms() + HOUR)
    write(tmp_path, [first], store="s", base=base, hole=f"{1:016x}-{5:016x}")
    log = await open_log(store=StoreState("s", None, first))
    assert log.tail.hole == (1, 5)
    assert log.tail.head == base
    assert (await log.append(draft())).id == base + STEP


async def test_where_nothing_is_said_nothing_is_bounded_but_keys(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        maintenance.os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=1)
    )
    log = await open_log()
    log.maintenance.run()
    assert log.refusal is None, "no free space is asked for"
    for name in ("bob", "carol", "dave"):
        await log.append(draft(to=(name,)))
    assert log._keys._max_keys_per_sender == 20_000


@pytest.mark.parametrize(("beyond_ms", "told"), [(-1000, False), (60_000, True)])
async def test_ids_more_than_two_minutes_ahead_are_told(
    tmp_path: Path, open_log: Open, beyond_ms: int, told: bool
) -> None:
    write(tmp_path, [id_at(now_ms() + round(AHEAD_SECONDS * 1000) + beyond_ms)])
    with capture_logs() as lines:
        await open_log()
    assert [line["event"] for line in lines] == ["clock_behind_log"] * told


async def test_ids_exactly_two_minutes_ahead_are_not_told(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now_ms()
    monkeypatch.setattr(local, "now_ms", lambda: start)
    write(tmp_path, [id_at(start + round(AHEAD_SECONDS * 1000))])
    with capture_logs() as lines:
        log = await open_log()
    assert log.ahead_seconds == AHEAD_SECONDS
    assert lines == []


async def test_a_file_that_cannot_be_read_is_let_go_of(tmp_path: Path, open_log: Open) -> None:
    write(tmp_path, [id_at(now_ms())])
    file = LogFile(tmp_path / "log.db")
    file._db.execute("UPDATE records SET crc = crc + 1")
    file.close()
    with pytest.raises(Exception, match="fails its checksum"):
        await open_log()
    assert not (tmp_path / "log.db-wal").exists(), "the last connection takes it along"


async def test_a_key_in_flight_is_known(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await open_log()
    monkeypatch.setattr(log._keys, "may_have_forgotten", lambda key: True)
    future = log.append(draft(client_id="k"))
    assert log.knows_key(key("k"))
    assert log.first_use(key("k")) is None, "it is not durable"
    assert not log.knows_key(key("other"))
    sent = await future
    assert log.knows_key(key("k"))
    known = log.first_use(key("k"))
    assert known is not None
    assert known.id == sent.id


async def test_to_meet_the_same_store_again_raises_no_question(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    log.learn_past(0, [])
    await log.attach_store(NOTHING)
    assert not log.past_is_unknown
    await log.attach_store(StoreState("another", None, 0))
    assert log.past_is_unknown


async def test_keys_of_moved_records_are_asked_for_up_to_the_newest_of_them(
    tmp_path: Path, open_log: Open
) -> None:
    start = now_ms()
    records = write(tmp_path, [id_at(start - 2 * HOUR), id_at(start - HOUR)], store="s")
    log = await open_log(store=NOTHING)
    log.learn_past(0, [])
    await log.readmit(records)
    assert log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(start - HOUR)))
    assert log.knows_key(key(uuid7_at(start - HOUR // 2)))


async def test_a_waiting_draft_counts_for_its_lists_where_the_tail_has_none(open_log: Open) -> None:
    log = await open_log()
    for listed in (False, True):
        before = log.tail.backlog.total
        one = draft("x" * 100)
        future = log.append(one)
        lists = 0 if listed else lists_bytes(one)
        assert log.tail.backlog.total - before == one.cost + lists
        await future


async def test_only_a_conversation_that_the_tail_does_not_list_is_a_new_one(
    open_log: Open,
) -> None:
    log = await open_log(new_conversations=1)
    for _ in range(3):
        await log.append(draft())
    with pytest.raises(Exception, match="must not begin more than 1 conversation"):
        await log.append(draft(to=("carol",)))


async def test_a_closed_log_says_that_the_service_ends_and_its_task_is_gone(
    open_log: Open,
) -> None:
    log = await open_log()
    (task,) = [one for one in asyncio.all_tasks() if one.get_name() == "log maintenance"]
    await log.close()
    with pytest.raises(LogUnavailable, match="the service is shutting down"):
        await log.append(draft())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_what_is_observed_of_a_commit_are_seconds_that_passed(open_log: Open) -> None:
    seen: list[tuple[int, float]] = []
    log = await open_log(observe=lambda count, seconds: seen.append((count, seconds)))
    began = log._loop.time()
    await log.append(draft())
    ((count, seconds),) = seen
    assert count == 1
    assert 0 <= seconds <= log._loop.time() - began
