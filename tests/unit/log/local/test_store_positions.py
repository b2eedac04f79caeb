"""The positions of an open log: what attaching a store changes, what is saved and trimmed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP, format_id, id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.core.record import pack
from chatsvc.log.base import Appended
from chatsvc.log.local.attachment import attach
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.positions import load
from chatsvc.log.local.store_positions import MIN_EPOCH_SECONDS
from chatsvc.log.local.worker import call_in_thread
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState
from testkit.drafts import draft, record
from testkit.waiting import until
from tests.unit.support.local_logs import NOTHING, Open

ALL = Bounds(limit=1000, newest=False)
MINUTE = 60_000


async def send(log: LocalLog, count: int) -> list[Appended]:
    return await asyncio.wait_for(
        asyncio.gather(*(log.append(draft(str(number))) for number in range(count))), 30
    )


def mark(log: LocalLog, position: int, lost: tuple[int, int] | None = None) -> Mark:
    entry = log.epochs[-1]
    return Mark(position, entry.generation, entry.epoch, lost)


def theirs(position: int, generation: int = 1) -> StoreState:
    """The same store with what this log knows nothing of."""
    return StoreState("s", Mark(position, generation, "theirs"), position)


def minutes_ahead(minutes: int) -> int:
    return id_at(now_ms() + minutes * MINUTE)


# --- where a new epoch begins


async def test_a_log_that_took_nothing_yet_begins_no_epoch_whatever_it_meets(
    open_log: Open,
) -> None:
    log = await open_log()
    epoch = log.epoch
    heard: list[tuple[EpochEntry, ...]] = []
    log.on_new_epoch(heard.append)
    far = minutes_ahead(5)
    await log.attach_store(StoreState("s", None, far))
    assert (log.epoch, heard) == (epoch, [])
    assert log.tail.base == log.tail.head == far


async def test_a_log_that_took_something_begins_one_where_it_meets_what_it_does_not_know(
    open_log: Open,
) -> None:
    log = await open_log()
    await send(log, 1)
    epoch = log.epoch
    await log.attach_store(StoreState("s", None, minutes_ahead(5)))
    assert log.epoch != epoch


@pytest.mark.parametrize("position", [0, 2])
async def test_a_fork_below_what_is_stored_may_differ_from_the_beginning(
    open_log: Open, position: int
) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 3)
    log.advance_watermark(sent[2].id)
    await log.attach_store(theirs(sent[position].id, generation=9))
    assert log.epochs[-1].begun == 0
    assert log.epochs[-1].generation == 10


async def test_a_fork_above_what_is_stored_may_differ_from_there(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 3)
    log.advance_watermark(sent[1].id)
    await log.attach_store(theirs(sent[1].id + STEP, generation=9))
    assert log.epochs[-1].begun == sent[1].id


async def test_a_new_epoch_is_announced_and_a_meeting_that_agrees_is_not(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 1)
    log.advance_watermark(sent[0].id)
    heard: list[tuple[EpochEntry, ...]] = []
    log.on_new_epoch(heard.append)
    await log.attach_store(StoreState("s", mark(log, sent[0].id), sent[0].id))
    assert heard == []
    await log.attach_store(theirs(minutes_ahead(1)))
    assert heard == [log.epochs]


# --- two epochs within a minute


@pytest.mark.parametrize(("seconds", "refused"), [(MIN_EPOCH_SECONDS - 0.1, True), (0.0, True),
                                                  (MIN_EPOCH_SECONDS, False)])  # fmt: skip
async def test_a_second_epoch_begins_after_a_minute(
    open_log: Open, seconds: float, refused: bool
) -> None:
    log = await open_log(store=NOTHING)
    now = 1000.0
    log._positions._clock = lambda: now
    await log.attach_store(theirs(minutes_ahead(1)))
    epoch = log.epoch
    now += seconds
    if refused:
        with pytest.raises(StoreUnavailable, match="every service needs one of its own"):
            await log.attach_store(theirs(minutes_ahead(2)))
    else:
        await log.attach_store(theirs(minutes_ahead(2)))
    assert (log.epoch == epoch) == refused


async def test_the_same_store_as_it_was_may_be_met_again_at_once(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    store = theirs(minutes_ahead(1))
    await log.attach_store(store)
    epoch = log.epoch
    await log.attach_store(store)
    assert (log.epoch, log.attached_store) == (epoch, store)


async def test_another_store_may_be_met_at_once(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    await log.attach_store(theirs(minutes_ahead(1)))
    another = theirs(minutes_ahead(2))._replace(identity="another")
    await log.attach_store(another)
    assert log.attached_store == another


# --- what is kept


async def test_the_store_of_the_start_is_the_one_that_is_attached(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    assert log.attached_store == NOTHING


async def test_what_a_store_has_lost_is_missing_also_after_records_moved(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 2)
    await log.attach_store(StoreState("s", mark(log, 0, lost=(3, 7)), 0))
    assert log.tail.hole == (3, 7)
    await log.readmit([one for one in log.tail.page(ALL) if one.id == sent[1].id])
    assert log.tail.hole == (3, 7)
    assert log.tail.confirmed is True


async def test_records_that_move_confirm_nothing(open_log: Open) -> None:
    log = await open_log()
    await send(log, 1)
    await log.readmit(log.tail.page(ALL))
    assert log.tail.confirmed is False


async def test_what_is_stored_is_kept_after_two_meetings_at_once(
    open_log: Open, tmp_path: Path
) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 1)
    await asyncio.gather(log.attach_store(NOTHING), log.attach_store(NOTHING))
    log.advance_watermark(sent[0].id)
    await log.close()
    file = LogFile(tmp_path / "log.db")
    assert file.meta("watermark") == sent[0].id
    file.close()


async def test_nothing_above_is_read_as_nothing(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 2)
    assert await log.read(sent[1].id, sent[1].id + STEP, 10, 1 << 20) == []
    assert [one.id for one in await log.read(sent[0].id, sent[1].id, 10, 1 << 20)] == [sent[1].id]


async def test_what_is_to_be_filled_goes_down_by_each_batch_that_was_read_and_stored(
    open_log: Open,
) -> None:
    log = await open_log(store=NOTHING, recent_bytes=0)
    sent = await send(log, 6)
    log.advance_watermark(sent[5].id)
    await log.attach_store(StoreState("another", None, 0))
    assert log.refill == 6
    log.advance_watermark(0)
    assert log.refill == 6
    after, left = 0, []
    for size in (3, 1, 2):
        batch = await log.read(after, sent[5].id, size, 1 << 20)
        after = batch[-1].id
        log.advance_watermark(after)
        log.advance_watermark(0)
        left.append(log._positions.refill)
        log.advance_watermark(after)
    assert left == [3, 2, 0]


# --- attaching, and what is said of it


def test_a_store_without_a_mark_that_had_one_is_believed_in_nothing(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.db")
    records = [pack(record(at)) for at in (10, 20, 30)]
    file.insert([(10 * number, 0, data) for number, data in enumerate(records, 1)])
    file.set_metas({"store": "s", "watermark": 30, "settled": 30})
    for marked, stored in ((False, 30), (True, 9)):
        positions = load(file)._replace(marked=marked)
        store = StoreState("s", None, 30)
        attachment = attach(file, positions, store, trimmed=9, empty=False, differ=0)
        assert attachment.positions.stored == stored
        assert attachment.refill == (3 if marked else 0)
    file.close()


async def test_what_it_was_attached_to_is_said_by_name(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log, 2)
    log.advance_watermark(sent[1].id)
    with capture_logs() as lines:
        await log.attach_store(StoreState("s", mark(log, sent[0].id), sent[0].id))
        await log.attach_store(StoreState("another", None, 0))
        far = minutes_ahead(1)
        await log.attach_store(theirs(far)._replace(identity="another"))
    said = [{k: v for k, v in line.items() if k != "log_level"} for line in lines]
    start = format_id(log.tail.stored)
    assert said == [
        {
            "event": "store_is_older",
            "believed_up_to": format_id(sent[1].id),
            "stored_again_from": start,
        },
        {"event": "store_is_another", "stored_again_from": start},
        {
            "event": "store_is_ahead",
            "log_knows_up_to": start,
            "store_up_to": format_id(far),
            "epoch": log.epoch,
        },
    ]


async def idle(log: LocalLog) -> None:
    """The log's thread has done what it was given."""
    await call_in_thread(lambda: None, log._worker.maintain)


async def test_what_is_stored_is_kept_once(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await open_log(store=NOTHING)
    sent = await asyncio.gather(*(log.append(draft(str(at))) for at in range(3)))
    written: list[Mapping[str, str | int]] = []
    real = log._file.set_metas

    def set_metas(values: Mapping[str, str | int]) -> None:
        written.append(values)
        real(values)

    monkeypatch.setattr(log._file, "set_metas", set_metas)
    for at in (0, 2):
        log.advance_watermark(sent[at].id)
        for _ in range(2):
            log._positions.save()
            await idle(log)
    assert written == [
        {"watermark": sent[at].id, "settled": sent[at].id, "marked": 1} for at in (0, 2)
    ]
    assert log._file.meta("settled") == sent[2].id
    assert log._file.meta("marked") == 1


async def test_trimming_goes_on_until_all_is_gone_that_is_kept_as_stored(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    log.maintenance.stop()  # nothing is saved but by the test
    sent = await asyncio.gather(*(log.append(draft(str(at))) for at in range(7)))
    log.advance_watermark(sent[4].id)
    log._positions.save()
    log.advance_watermark(sent[6].id)
    log._positions.trim(MAX_ID, 2)
    await until(lambda: log._file.lowest() == sent[5].id)
    log._positions.save()
    log._positions.trim(sent[5].id, 2)
    await until(lambda: log._file.lowest() == sent[6].id)


async def test_a_listener_of_epochs_that_raises_keeps_no_other_from_hearing(
    open_log: Open,
) -> None:
    log = await open_log(store=NOTHING)
    await send(log, 1)
    heard: list[str] = []

    def broken(_: object) -> None:
        raise ZeroDivisionError

    log.on_new_epoch(broken)
    log.on_new_epoch(lambda epochs: heard.append(epochs[-1].epoch))
    before = log.epoch
    with capture_logs() as lines:
        await log.attach_store(theirs(minutes_ahead(1)))
    assert log.epoch != before
    assert heard == [log.epoch]
    failed = [line for line in lines if line["event"] == "epoch_listener_failed"]
    assert [line["epoch"] for line in failed] == [log.epoch]
