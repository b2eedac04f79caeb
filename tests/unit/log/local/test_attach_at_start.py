"""A log and its store at the start: what is claimed, and what is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.core.ids import id_at, now_ms
from chatsvc.log.local.verify import BadRow, accept_loss, remove
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState
from tests.unit.support.local_logs import (
    HOUR,
    NOTHING,
    Open,
    ids,
    mark,
    old_records,
    send,
    write_log_of_before,
)


async def test_a_new_log_beside_a_store_with_messages(open_log: Open) -> None:
    head = id_at(now_ms() - 1000)
    log = await open_log(store=StoreState("s", None, head))
    assert log.tail.floor == log.tail.stored == log.tail.head == head
    assert log.tail.complete_above == head
    assert (await send(log)).id > head
    assert log.store_from == head


async def test_a_new_log_counts_its_epoch_from_the_stores(open_log: Open) -> None:
    log = await open_log(store=StoreState("s", Mark(100, 7, "before"), 100))
    assert [entry.generation for entry in log.epochs] == [8]


async def test_a_new_log_with_the_store_away_claims_nothing_before_it_has_met_one(
    open_log: Open,
) -> None:
    before = id_at(now_ms())
    log = await open_log()
    assert log.tail.floor == log.tail.watermark >= before
    sent = await send(log)
    assert sent.id > log.tail.floor
    assert log.tail.complete_above == log.tail.head == sent.id, "a store may hold anything"
    await log.close()
    log = await open_log()
    assert log.tail.complete_above == log.tail.head == sent.id
    await log.attach_store(NOTHING)
    assert log.tail.complete_above == log.tail.floor < sent.id
    assert log.tail.lacking() == ()


async def test_the_file_of_an_earlier_program_is_not_claimed_below_its_lowest_row(
    tmp_path: Path, open_log: Open
) -> None:
    records = old_records(5)
    write_log_of_before(tmp_path, records[2:], watermark=records[3].id, store="s")
    log = await open_log(store=StoreState("s", None, records[4].id))
    assert log.tail.floor == records[2].id - 1
    assert ids(log) == [one.id for one in records[2:]]
    assert log.tail.stored == records[3].id


async def test_a_watermark_that_trimming_has_passed_is_raised_to_it(
    tmp_path: Path, open_log: Open
) -> None:
    """An earlier program marked it saved before it was."""
    records = old_records(5)
    write_log_of_before(tmp_path, records[3:], watermark=records[0].id, store="s")
    log = await open_log(store=StoreState("s", None, records[4].id))
    assert log.tail.stored == log.tail.watermark == records[3].id - 1
    assert log.tail.unsaved_count == 2


@pytest.mark.parametrize("clock", [0, -4 * HOUR, 4 * HOUR], ids=["1970", "behind", "ahead"])
async def test_what_was_trimmed_is_not_claimed_whatever_the_clock_says(
    tmp_path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch, clock: int
) -> None:
    records = old_records(5)
    write_log_of_before(tmp_path, records[3:], watermark=records[4].id, store="s")
    wrong = now_ms() + clock if clock else 1000
    monkeypatch.setattr("chatsvc.log.local.log.now_ms", lambda: wrong)
    monkeypatch.setattr("chatsvc.log.local.opening.now_ms", lambda: wrong)
    log = await open_log(store=StoreState("s", None, records[4].id))
    assert log.tail.floor >= records[3].id - 1
    assert ids(log) == [one.id for one in records[3:] if one.id > log.tail.floor]


async def test_a_row_that_was_put_aside_is_the_stores_to_show(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(3)]
    log.advance_watermark(sent[2].id)
    await log.close()
    remove(tmp_path / "log.db", (BadRow(sent[1].id, "checksum", b""),))
    log = await open_log(store=StoreState("s", mark(log, sent[2].id), sent[2].id))
    assert log.tail.base == log.tail.complete_above == sent[1].id
    assert log.tail.stored == sent[2].id
    assert [entry.epoch for entry in log.epochs] == [log.epoch]


@pytest.mark.parametrize("met", ["s", "another", None])
async def test_a_row_that_was_put_aside_and_never_stored_is_lost(
    tmp_path: Path, open_log: Open, met: str | None
) -> None:
    log = await open_log(store=NOTHING if met else None)
    sent = [await send(log, str(at)) for at in range(3)]
    if met:
        log.advance_watermark(sent[0].id)
    await log.close()
    remove(tmp_path / "log.db", (BadRow(sent[1].id, "checksum", b""),))
    log = await open_log(store=StoreState(met or "s", None, sent[0].id if met == "s" else 0))
    assert log.epochs[-1].begun <= sent[1].id - 1
    log.advance_watermark(sent[2].id)
    assert log.tail.missing() == ((sent[1].id - 1, sent[1].id),)


async def test_an_accepted_loss_begins_a_new_epoch_above_it(tmp_path: Path, open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log)
    await log.close()
    before = log.epochs
    accept_loss(tmp_path / "log.db")
    log = await open_log(store=StoreState("s", None, 0))
    assert log.epochs[:-1] == before
    assert log.epochs[-1] == EpochEntry(before[-1].generation + 1, log.epoch, sent.id)
    assert log.tail.base > sent.id
    assert log.tail.missing() == ((sent.id, log.tail.base),), "what was above it is lost"
    assert (await send(log)).id > log.tail.base


async def test_a_new_log_believes_no_cursor_above_the_mark_of_its_store(open_log: Open) -> None:
    """Above it the store may have a part of a batch, and not what came before."""
    log = await open_log(store=StoreState("s", Mark(100, 7, "before"), 160))
    assert [one.begun for one in log.epochs] == [100]
    assert log.tail.head >= 160
