"""A log and its store where one of them was put back, or the store is another."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.record import accept
from chatsvc.log import reconcile as table
from chatsvc.log.base import Appended
from chatsvc.log.local.file import LogFile
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.verify import BadRow, remove
from chatsvc.log.reconcile import Mark, StoreState, fingerprint
from testkit.drafts import draft
from tests.unit.support.local_logs import (
    NOTHING,
    Open,
    mark,
    old_records,
    send,
    write_log_of_before,
)


async def closed_with_one_unstored(open_log: Open, count: int) -> tuple[LocalLog, list[Appended]]:
    """A log that was closed with so many messages; the store has all but the last."""
    log = await open_log(store=NOTHING, recent_bytes=0)
    sent = [await send(log, str(at)) for at in range(count)]
    log.advance_watermark(sent[-2].id)
    await log.close()
    return log, sent


async def test_a_store_that_was_put_back_gets_again_what_it_lacks(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "WIDE_MARGIN", 2)
    log, sent = await closed_with_one_unstored(open_log, 10)
    put_back = StoreState("s", mark(log, sent[5].id), sent[8].id)
    again = await open_log(store=put_back, recent_bytes=0)
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
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MARGIN", 2)
    log, sent = await closed_with_one_unstored(open_log, 5)
    agreeing = StoreState("s", mark(log, sent[3].id), sent[3].id)
    log = await open_log(store=agreeing, recent_bytes=0)
    assert log.tail.stored == sent[3].id
    assert log.store_from == sent[1].id
    assert log.tail.lacking() == ()


async def test_another_store_is_filled_from_the_file_and_not_from_memory(
    tmp_path: Path, open_log: Open
) -> None:
    records = old_records(2000)
    write_log_of_before(tmp_path, records, watermark=records[-2].id, store="s")
    log = await open_log(
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
    log = await open_log(store=StoreState("another", None, 0), recent_bytes=50_000)
    assert (log.refill, log.tail.unsaved_count) == (1999, 1), "and after a restart as well"


async def test_what_no_one_holds_any_more_is_remembered_as_lost(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(5)]
    log.advance_watermark(sent[4].id)
    await log.close()
    file = LogFile(tmp_path / "log.db")
    file.trim(sent[2].id, 100)
    file.close()
    with capture_logs() as lines:
        log = await open_log(store=StoreState("s", mark(log, sent[0].id), sent[0].id))
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "history_is_missing"
    ]
    log.advance_watermark(sent[4].id)
    assert log.tail.lacking() == ()
    assert log.tail.missing() == ((sent[0].id, sent[2].id),), "up to the last that was trimmed"
    await log.close()
    log = await open_log(store=StoreState("s", mark(log, sent[4].id), sent[4].id))
    assert log.tail.hole == (sent[0].id, sent[2].id), "it does not heal"


async def test_a_store_ahead_begins_a_new_epoch_above_it(tmp_path: Path, open_log: Open) -> None:
    records = old_records(3, client_id=None)
    write_log_of_before(tmp_path, records, watermark=records[1].id, store="s", epoch="before")
    head = id_at(now_ms() - 60_000)
    log = await open_log(store=StoreState("s", None, head))
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
    log = await open_log(store=StoreState("s", mark(log, sent.id), sent.id))
    assert (log.epoch, log.tail.base) == (epoch, head)


async def test_an_empty_log_that_was_put_back_is_no_new_one(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    await log.close()
    head = id_at(now_ms())
    again = await open_log(store=StoreState("s", mark(log, head), head))
    assert again.epoch != log.epoch
    assert again.tail.base == head
    assert (await send(again)).id > head


async def test_an_unordered_batch_that_the_log_lost_the_end_of_is_completed(
    tmp_path: Path, open_log: Open
) -> None:
    """The store took the last of a batch and not the two before it, and the log lost it."""
    records = old_records(10)
    write_log_of_before(tmp_path, records[:9], watermark=records[6].id, store="s")
    log = await open_log(store=StoreState("s", None, records[9].id))
    assert log.store_from == log.tail.stored == records[0].id - 1
    assert log.tail.unsaved_count == 2
    assert log.tail.base == records[9].id


@pytest.mark.parametrize("known", [True, False])
async def test_a_head_that_the_log_holds_must_be_the_same_message(
    tmp_path: Path, open_log: Open, known: bool
) -> None:
    """A log that was put back may have given the same id to another."""
    records = old_records(3)
    write_log_of_before(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    other = accept(draft("another"), records[2].id)
    newest = records[2].body if known else other.body
    log = await open_log(store=StoreState("s", None, records[2].id, newest))
    assert (log.epoch == "before") == known
    assert log.tail.base == (0 if known else records[2].id)


async def test_a_dead_letter_is_compared_whatever_its_bytes_are(
    tmp_path: Path, open_log: Open
) -> None:
    records = old_records(3)
    write_log_of_before(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    log = await open_log(store=StoreState("s", None, records[2].id, b"\xff no JSON"))
    assert log.epoch != "before"


@pytest.mark.parametrize("known", [True, False])
async def test_a_mark_tells_which_message_it_means(
    tmp_path: Path, open_log: Open, known: bool
) -> None:
    """The store has not got it any more: an expired message, or a dead letter that was dropped."""
    records = old_records(3)
    write_log_of_before(tmp_path, records, watermark=records[0].id, store="s", epoch="before")
    meant = records[2] if known else accept(draft("another"), records[2].id)
    set_by = Mark(records[2].id, 0, "before", content=fingerprint(meant.body))
    log = await open_log(store=StoreState("s", set_by, records[1].id, records[1].body))
    assert (log.epoch == "before") == known
    assert log.tail.base == (0 if known else records[2].id)


async def test_what_was_taken_out_and_stored_is_lost_with_that_store(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(4)]
    log.advance_watermark(sent[3].id)
    full = StoreState("s", mark(log, sent[3].id), sent[3].id)
    put_back = StoreState("s", mark(log, sent[0].id), sent[0].id)
    await log.close()
    for at in (1, 2):
        remove(tmp_path / "log.db", (BadRow(sent[at].id, "checksum", b""),))
    log = await open_log(store=full)
    assert log.tail.hole is None
    await log.attach_store(put_back)
    assert log.tail.hole == (sent[1].id - 1, sent[2].id)
