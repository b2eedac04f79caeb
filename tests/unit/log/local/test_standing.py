"""A log and its store: logs and stores of before, put back, swapped, and met late."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import STEP, id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record, accept, checksum, pack
from chatsvc.log import reconcile as table
from chatsvc.log.base import Appended
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.record_reader import Row
from chatsvc.log.local.verify import BadRow, accept_loss, remove
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState, fingerprint
from tests.support.drafts import draft

HOUR = 3_600_000
ALL = Bounds(limit=100_000, newest=False)
NOTHING = StoreState("s", None, 0)
Open = Callable[..., Awaitable[LocalLog]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a log, in this test's folder unless another is named."""
    logs: list[LocalLog] = []

    async def open_log(folder: Path = tmp_path, **options: Any) -> LocalLog:
        values: dict[str, Any] = {
            "recent_bytes": 1 << 20,
            "backlog_bytes": 1 << 30,
            "idempotency_ms": 600_000,
            "idempotency_keys": 1000,
            "retention_ms": HOUR,
        }
        log = await LocalLog.open(folder, **(values | options))
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        await log.close()


def old(count: int, ms_ago: int = HOUR, **options: Any) -> list[Record]:
    first = id_at(now_ms() - ms_ago)
    return [accept(draft(f"old {at}", **options), first + at * STEP) for at in range(count)]


def rows_of(records: list[Record]) -> list[Row]:
    return [(one.id, checksum(one.id, pack(one)), pack(one)) for one in records]


def write(folder: Path, records: list[Record], **meta: str | int) -> None:
    """A log as an earlier program left it: its file says nothing of newer things."""
    file = LogFile(folder / "log.db")
    if records:
        file.insert(rows_of(records))
    for key, value in meta.items():
        file.set_meta(key, value)
    file.close()
    with sqlite3.connect(folder / "log.db") as db:
        db.execute("DELETE FROM meta WHERE key='trimmed'")
    db.close()


def ids(log: LocalLog) -> list[int]:
    return [one.id for one in log.tail.page(ALL)]


def mark(log: LocalLog, position: int) -> Mark:
    entry = log.epochs[-1]
    return Mark(position, entry.generation, entry.epoch)


async def send(log: LocalLog, content: str = "x", **options: Any) -> Appended:
    return await asyncio.wait_for(log.append(draft(content, **options)), 30)


# --- at the start


async def test_a_new_log_beside_a_store_with_messages(opened: Open) -> None:
    head = id_at(now_ms() - 1000)
    log = await opened(store=StoreState("s", None, head))
    assert log.tail.floor == log.tail.stored == log.tail.head == head
    assert log.tail.complete_above == head
    assert (await send(log)).id > head
    assert log.store_from == head


async def test_a_new_log_counts_its_epoch_from_the_stores(opened: Open) -> None:
    log = await opened(store=StoreState("s", Mark(100, 7, "before"), 100))
    assert [entry.generation for entry in log.epochs] == [8]


async def test_a_new_log_with_the_store_away_claims_nothing_before_it_has_met_one(
    opened: Open,
) -> None:
    before = id_at(now_ms())
    log = await opened()
    assert log.tail.floor == log.tail.watermark >= before
    sent = await send(log)
    assert sent.id > log.tail.floor
    assert log.tail.complete_above == log.tail.head == sent.id, "a store may hold anything"
    await log.close()
    log = await opened()
    assert log.tail.complete_above == log.tail.head == sent.id
    await log.attach_store(NOTHING)
    assert log.tail.complete_above == log.tail.floor < sent.id
    assert log.tail.lacking() == ()


async def test_the_file_of_an_earlier_program_is_not_claimed_below_its_lowest_row(
    tmp_path: Path, opened: Open
) -> None:
    records = old(5)
    write(tmp_path, records[2:], watermark=records[3].id, store="s")
    log = await opened(store=StoreState("s", None, records[4].id))
    assert log.tail.floor == records[2].id - 1
    assert ids(log) == [one.id for one in records[2:]]
    assert log.tail.stored == records[3].id


async def test_a_watermark_that_trimming_has_passed_is_raised_to_it(
    tmp_path: Path, opened: Open
) -> None:
    """An earlier program marked it saved before it was."""
    records = old(5)
    write(tmp_path, records[3:], watermark=records[0].id, store="s")
    log = await opened(store=StoreState("s", None, records[4].id))
    assert log.tail.stored == log.tail.watermark == records[3].id - 1
    assert log.tail.unsaved_count == 2


@pytest.mark.parametrize("clock", [0, -4 * HOUR, 4 * HOUR], ids=["1970", "behind", "ahead"])
async def test_what_was_trimmed_is_not_claimed_whatever_the_clock_says(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    records = old(5)
    write(tmp_path, records[3:], watermark=records[4].id, store="s")
    wrong = now_ms() + clock if clock else 1000
    monkeypatch.setattr("chatsvc.log.local.log.now_ms", lambda: wrong)
    monkeypatch.setattr("chatsvc.log.local.opening.now_ms", lambda: wrong)
    log = await opened(store=StoreState("s", None, records[4].id))
    assert log.tail.floor >= records[3].id - 1
    assert ids(log) == [one.id for one in records[3:] if one.id > log.tail.floor]


async def test_a_row_that_was_put_aside_is_the_stores_to_show(tmp_path: Path, opened: Open) -> None:
    log = await opened(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(3)]
    log.advance_watermark(sent[2].id)
    await log.close()
    remove(tmp_path / "log.db", (BadRow(sent[1].id, "checksum", b""),))
    log = await opened(store=StoreState("s", mark(log, sent[2].id), sent[2].id))
    assert log.tail.base == log.tail.complete_above == sent[1].id
    assert log.tail.stored == sent[2].id
    assert [entry.epoch for entry in log.epochs] == [log.epoch]


@pytest.mark.parametrize("met", ["s", "another", None])
async def test_a_row_that_was_put_aside_and_never_stored_is_lost(
    tmp_path: Path, opened: Open, met: str | None
) -> None:
    log = await opened(store=NOTHING if met else None)
    sent = [await send(log, str(at)) for at in range(3)]
    if met:
        log.advance_watermark(sent[0].id)
    await log.close()
    remove(tmp_path / "log.db", (BadRow(sent[1].id, "checksum", b""),))
    log = await opened(store=StoreState(met or "s", None, sent[0].id if met == "s" else 0))
    assert log.epochs[-1].begun <= sent[1].id - 1
    log.advance_watermark(sent[2].id)
    assert log.tail.missing() == ((sent[1].id - 1, sent[1].id),)


async def test_an_accepted_loss_begins_a_new_epoch_above_it(tmp_path: Path, opened: Open) -> None:
    log = await opened(store=NOTHING)
    sent = await send(log)
    await log.close()
    before = log.epochs
    accept_loss(tmp_path / "log.db")
    log = await opened(store=StoreState("s", None, 0))
    assert log.epochs[:-1] == before
    assert log.epochs[-1] == EpochEntry(before[-1].generation + 1, log.epoch, sent.id)
    assert log.tail.base > sent.id
    assert log.tail.missing() == ((sent.id, log.tail.base),), "what was above it is lost"
    assert (await send(log)).id > log.tail.base


# --- the store is older, or another


async def test_a_store_that_was_put_back_gets_again_what_it_lacks(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "WIDE_MARGIN", 2)
    log = await opened(store=NOTHING, recent_bytes=0)
    sent = [await send(log, str(at)) for at in range(10)]
    log.advance_watermark(sent[8].id)
    await log.close()
    put_back = StoreState("s", mark(log, sent[5].id), sent[8].id)
    again = await opened(store=put_back, recent_bytes=0)
    assert again.epoch == log.epoch
    assert again.tail.watermark == sent[8].id
    assert again.tail.unsaved_count == 1, "what was stored once is no backlog"
    assert again.tail.stored == again.store_from == sent[3].id, "a margin below what it says"
    assert again.refill == 5
    assert again.tail.floor == sent[8].id
    assert again.tail.lacking() == ((sent[3].id, sent[8].id),)
    assert [one.id for one in await again.read(sent[3].id, sent[8].id, 2, 1 << 20)] == [
        sent[4].id,
        sent[5].id,
    ]
    again.advance_watermark(sent[5].id)
    assert again.refill == 3
    again.advance_watermark(sent[8].id)
    assert (again.refill, again.tail.lacking()) == (0, ())


async def test_a_store_that_agrees_gets_a_margin_again_and_is_believed(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MARGIN", 2)
    log = await opened(store=NOTHING, recent_bytes=0)
    sent = [await send(log, str(at)) for at in range(5)]
    log.advance_watermark(sent[3].id)
    await log.close()
    agreeing = StoreState("s", mark(log, sent[3].id), sent[3].id)
    log = await opened(store=agreeing, recent_bytes=0)
    assert log.tail.stored == sent[3].id
    assert log.store_from == sent[1].id
    assert log.tail.lacking() == ()


async def test_another_store_is_filled_from_the_file_and_not_from_memory(
    tmp_path: Path, opened: Open
) -> None:
    records = old(2000)
    write(tmp_path, records, watermark=records[-2].id, store="s")
    log = await opened(
        store=StoreState("another", None, 0), recent_bytes=50_000, backlog_bytes=1 << 20
    )
    assert log.refusal is None
    assert log.tail.unsaved_count == 1
    assert len(log.tail) < 100
    assert log.refill == 1999
    assert log.tail.stored == log.store_from == records[0].id - 1
    lost = (0, records[0].id - 1)
    assert log.tail.missing() == ((log.tail.stored, log.tail.floor), lost)
    await log.close()
    log = await opened(store=StoreState("another", None, 0), recent_bytes=50_000)
    assert (log.refill, log.tail.unsaved_count) == (1999, 1), "and after a restart as well"


async def test_what_no_one_holds_any_more_is_remembered_as_lost(
    tmp_path: Path, opened: Open
) -> None:
    log = await opened(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(5)]
    log.advance_watermark(sent[4].id)
    await log.close()
    file = LogFile(tmp_path / "log.db")
    file.trim(sent[2].id, 100)
    file.close()
    with capture_logs() as lines:
        log = await opened(store=StoreState("s", mark(log, sent[0].id), sent[0].id))
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "history_is_missing"
    ]
    log.advance_watermark(sent[4].id)
    assert log.tail.lacking() == ()
    assert log.tail.missing() == ((sent[0].id, log.tail.floor),)
    await log.close()
    log = await opened(store=StoreState("s", mark(log, sent[4].id), sent[4].id))
    assert log.tail.hole == (sent[0].id, log.tail.floor), "it does not heal"


# --- the log is older


async def test_a_store_ahead_begins_a_new_epoch_above_it(tmp_path: Path, opened: Open) -> None:
    records = old(3, client_id=None)
    write(tmp_path, records, watermark=records[1].id, store="s", epoch="before")
    head = id_at(now_ms() - 60_000)
    log = await opened(store=StoreState("s", None, head))
    assert log.epoch != "before"
    assert log.epochs[-1].begun == head
    assert log.tail.stored == records[0].id - 1, "the store has seen another past"
    assert log.tail.unsaved_count == 1
    assert log.tail.head == log.tail.base == log.tail.complete_above == head
    assert log.past_is_unknown, "keys of the old epoch are the store's to tell"
    sent = await send(log)
    assert sent.id > head
    epoch = log.epoch
    await log.close()
    log = await opened(store=StoreState("s", mark(log, sent.id), sent.id))
    assert (log.epoch, log.tail.base) == (epoch, head)


async def test_an_empty_log_that_was_put_back_is_no_new_one(opened: Open) -> None:
    log = await opened(store=NOTHING)
    await log.close()
    head = id_at(now_ms())
    again = await opened(store=StoreState("s", mark(log, head), head))
    assert again.epoch != log.epoch
    assert again.tail.base == head
    assert (await send(again)).id > head


async def test_an_unordered_batch_that_the_log_lost_the_end_of_is_completed(
    tmp_path: Path, opened: Open
) -> None:
    """The store took the last of a batch and not the two before it, and the log lost it."""
    records = old(10)
    write(tmp_path, records[:9], watermark=records[6].id, store="s")
    log = await opened(store=StoreState("s", None, records[9].id))
    assert log.store_from == log.tail.stored == records[0].id - 1
    assert log.tail.unsaved_count == 2
    assert log.tail.base == records[9].id


@pytest.mark.parametrize("known", [True, False])
async def test_a_head_that_the_log_holds_must_be_the_same_message(
    tmp_path: Path, opened: Open, known: bool
) -> None:
    """A log that was put back may have given the same id to another."""
    records = old(3)
    write(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    other = accept(draft("another"), records[2].id)
    newest = records[2].body if known else other.body
    log = await opened(store=StoreState("s", None, records[2].id, newest))
    assert (log.epoch == "before") == known
    assert log.tail.base == (0 if known else records[2].id)


async def test_a_dead_letter_is_compared_whatever_its_bytes_are(
    tmp_path: Path, opened: Open
) -> None:
    records = old(3)
    write(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    log = await opened(store=StoreState("s", None, records[2].id, b"\xff no JSON"))
    assert log.epoch != "before"


@pytest.mark.parametrize("known", [True, False])
async def test_a_mark_tells_which_message_it_means(
    tmp_path: Path, opened: Open, known: bool
) -> None:
    """The store has not got it any more: an expired message, or a dead letter that was dropped."""
    records = old(3)
    write(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    meant = records[2] if known else accept(draft("another"), records[2].id)
    set_by = Mark(records[2].id, 0, "before", content=fingerprint(meant.body))
    log = await opened(store=StoreState("s", set_by, records[1].id, records[1].body))
    assert (log.epoch == "before") == known
    assert log.tail.base == (0 if known else records[2].id)


async def test_what_was_taken_out_and_stored_is_lost_with_that_store(
    tmp_path: Path, opened: Open
) -> None:
    log = await opened(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(4)]
    log.advance_watermark(sent[3].id)
    full = StoreState("s", mark(log, sent[3].id), sent[3].id)
    put_back = StoreState("s", mark(log, sent[0].id), sent[0].id)
    await log.close()
    for at in (1, 2):
        remove(tmp_path / "log.db", (BadRow(sent[at].id, "checksum", b""),))
    log = await opened(store=full)
    assert log.tail.hole is None
    await log.attach_store(put_back)
    assert log.tail.hole == (sent[1].id - 1, sent[2].id)


# --- while it runs


async def test_a_store_that_comes_later_is_met(tmp_path: Path, opened: Open) -> None:
    log = await opened()
    assert (log.met, log.tail.confirmed) == (None, False)
    sent = await send(log)
    epoch = log.epoch
    await log.attach_store(NOTHING)
    assert (log.met, log.epoch, log.tail.confirmed) == (NOTHING, epoch, True)
    log.advance_watermark(sent.id)
    assert LogFile(tmp_path / "log.db").meta("store") == "s"


async def test_a_store_that_knows_more_begins_a_new_epoch_of_a_running_log(
    tmp_path: Path, opened: Open
) -> None:
    log = await opened(store=NOTHING)
    first = await send(log, "a")
    log.advance_watermark(first.id)
    await log.close()
    shutil.copy(tmp_path / "log.db", tmp_path / "backup.db")
    log = await opened(store=StoreState("s", mark(log, first.id), first.id))
    second = await send(log, "b")
    await log.close()
    (tmp_path / "older").mkdir()
    shutil.copy(tmp_path / "backup.db", tmp_path / "older" / "log.db")

    older = await opened(tmp_path / "older")  # with the store away
    third = await send(older, "c")
    epochs: list[tuple[EpochEntry, ...]] = []
    older.on_new_epoch(epochs.append)
    epoch = older.epoch
    assert epoch == log.epoch
    await older.attach_store(StoreState("s", mark(log, second.id), second.id))
    assert older.epoch != epoch
    assert epochs == [older.epochs]
    assert older.epochs[-1].begun == first.id, "above it lies what was not sent to everybody"
    assert older.tail.base == second.id
    assert older.store_from == older.tail.stored == 0
    assert older.tail.unsaved_count == 1
    assert ids(older)[-1] == third.id
    assert (await send(older)).id > max(second.id, third.id)


async def test_ids_go_on_above_all_that_a_met_store_holds(opened: Open) -> None:
    log = await opened(store=NOTHING)
    await send(log)
    far = id_at(now_ms() + 48 * HOUR)
    in_flight = log.append(draft("in flight"))
    await asyncio.sleep(0)
    await log.attach_store(StoreState("s", None, far))
    after = await send(log)
    assert (await in_flight).id < far < after.id
    assert log.tail.head == after.id


async def test_two_services_at_one_store_do_not_reset_clients_without_end(opened: Open) -> None:
    log = await opened(store=NOTHING)
    sent = await send(log)
    theirs = [id_at(now_ms() + minutes * 60_000) for minutes in (1, 2)]
    await log.attach_store(StoreState("s", Mark(theirs[0], 1, "theirs"), theirs[0]))
    epoch = log.epoch
    with pytest.raises(StoreUnavailable, match="another service writes to this store"):
        await log.attach_store(StoreState("s", Mark(theirs[1], 1, "theirs"), theirs[1]))
    assert log.epoch == epoch
    assert log.tail.stored < sent.id


async def test_a_meeting_that_cannot_be_kept_changes_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened(store=NOTHING)
    sent = await send(log)
    log.advance_watermark(sent.id)
    before = (log.epoch, log.tail.stored, log.met)

    def full(values: object) -> None:
        raise LogUnavailable("full", code="disk_full")

    monkeypatch.setattr(log._file, "set_metas", full)
    with pytest.raises(LogUnavailable):
        await log.attach_store(StoreState("another", None, 0))
    assert (log.epoch, log.tail.stored, log.met) == before
    monkeypatch.undo()
    await log.attach_store(StoreState("another", None, 0))
    assert log.tail.stored < sent.id


async def test_a_watermark_of_before_is_not_saved_over_a_meeting(
    tmp_path: Path, opened: Open
) -> None:
    log = await opened(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(3)]
    log.advance_watermark(sent[2].id)
    meeting = asyncio.create_task(log.attach_store(StoreState("another", None, 0)))
    await asyncio.sleep(0)
    log.maintenance.run()
    await meeting
    await log.close()
    file = LogFile(tmp_path / "log.db")
    assert int(str(file.meta("watermark"))) < sent[0].id
    file.close()


# --- two messages under one id


async def test_a_message_whose_id_is_taken_gets_another_place(tmp_path: Path, opened: Open) -> None:
    log = await opened(store=NOTHING)
    sent = [await send(log, content, client_id=content) for content in ("a", "b", "c")]
    epochs: list[tuple[EpochEntry, ...]] = []
    log.on_new_epoch(epochs.append)
    epoch = log.epoch
    taken = [one for one in log.tail.page(ALL) if one.id == sent[1].id]
    while_placing = log.append(draft("d"))
    await log.readmit(taken)
    later = await while_placing
    moved = await send(log, "b", client_id="b")
    assert moved.duplicate
    assert moved.id > sent[2].id
    assert f'"id":"{moved.id:016x}"'.encode() in moved.body
    assert ids(log) == sorted([sent[0].id, sent[2].id, later.id, moved.id])
    assert log.tail.get(sent[1].id) is None
    assert log.tail.unsaved_count == 4
    assert log.epoch != epoch
    assert epochs[0][-1].begun == sent[1].id - 1
    assert log.tail.base == sent[1].id, "what is there now is the store's to show"
    await log.close()
    log = await opened(store=StoreState("s", None, 0))
    assert len(ids(log)) == 4
    assert (await send(log, "b", client_id="b")).id == moved.id


async def test_lives_are_remembered_up_to_a_bound(tmp_path: Path, opened: Open) -> None:
    log = await opened(store=NOTHING)
    for number in range(40):
        await send(log, str(number))
        await log.readmit(log.tail.page(Bounds(1)))
    generations = [entry.generation for entry in log.epochs]
    assert generations == list(range(10, 42))
    await log.close()
    log = await opened(store=NOTHING)
    assert [entry.generation for entry in log.epochs] == generations
    assert log.epochs[0].begun == 0, "it stands for the first, which began with nothing"
