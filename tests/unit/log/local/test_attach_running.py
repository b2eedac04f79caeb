"""A store that is attached to an open log, and two messages under one id."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from chatsvc.core.errors import LogUnavailable, StoreUnavailable
from chatsvc.core.ids import id_at, now_ms
from chatsvc.core.page import Bounds
from chatsvc.log.local.file import LogFile
from chatsvc.log.reconcile import EpochEntry, Mark, StoreState
from testkit.drafts import draft
from tests.unit.support.local_logs import (
    ALL,
    HOUR,
    NOTHING,
    Open,
    ids,
    mark,
    send,
)


async def test_a_store_that_comes_later_is_met(tmp_path: Path, open_log: Open) -> None:
    log = await open_log()
    assert (log.attached_store, log.tail.confirmed) == (None, False)
    sent = await send(log)
    epoch = log.epoch
    await log.attach_store(NOTHING)
    assert (log.attached_store, log.epoch, log.tail.confirmed) == (NOTHING, epoch, True)
    log.advance_watermark(sent.id)
    assert LogFile(tmp_path / "log.db").meta("store") == "s"


async def test_a_store_that_knows_more_begins_a_new_epoch_of_a_running_log(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
    first = await send(log, "a")
    log.advance_watermark(first.id)
    await log.close()
    shutil.copy(tmp_path / "log.db", tmp_path / "backup.db")
    log = await open_log(store=StoreState("s", mark(log, first.id), first.id))
    second = await send(log, "b")
    await log.close()
    (tmp_path / "older").mkdir()
    shutil.copy(tmp_path / "backup.db", tmp_path / "older" / "log.db")

    older = await open_log(tmp_path / "older")  # with the store away
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


async def test_ids_go_on_above_all_that_a_met_store_holds(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    await send(log)
    far = id_at(now_ms() + 48 * HOUR)
    in_flight = log.append(draft("in flight"))
    await asyncio.sleep(0)
    await log.attach_store(StoreState("s", None, far))
    after = await send(log)
    assert (await in_flight).id < far < after.id
    assert log.tail.head == after.id


async def test_two_services_at_one_store_do_not_reset_clients_without_end(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log)
    theirs = [id_at(now_ms() + minutes * 60_000) for minutes in (1, 2)]
    await log.attach_store(StoreState("s", Mark(theirs[0], 1, "theirs"), theirs[0]))
    epoch = log.epoch
    with pytest.raises(StoreUnavailable, match="another service writes to this store"):
        await log.attach_store(StoreState("s", Mark(theirs[1], 1, "theirs"), theirs[1]))
    assert log.epoch == epoch
    assert log.tail.stored < sent.id


async def test_a_attaching_that_cannot_be_kept_changes_nothing(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(store=NOTHING)
    sent = await send(log)
    log.advance_watermark(sent.id)
    before = (log.epoch, log.tail.stored, log.attached_store)

    def full(values: object) -> None:
        raise LogUnavailable("full", code="disk_full")

    monkeypatch.setattr(log._file, "set_metas", full)
    with pytest.raises(LogUnavailable):
        await log.attach_store(StoreState("another", None, 0))
    assert (log.epoch, log.tail.stored, log.attached_store) == before
    monkeypatch.undo()
    await log.attach_store(StoreState("another", None, 0))
    assert log.tail.stored < sent.id


async def test_a_watermark_of_before_is_not_saved_over_an_attachment(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
    sent = [await send(log, str(at)) for at in range(3)]
    log.advance_watermark(sent[2].id)
    attaching = asyncio.create_task(log.attach_store(StoreState("another", None, 0)))
    await asyncio.sleep(0)
    log.maintenance.run()
    await attaching
    await log.close()
    file = LogFile(tmp_path / "log.db")
    assert int(str(file.meta("watermark"))) < sent[0].id
    file.close()


async def test_a_message_whose_id_is_taken_gets_another_place(
    tmp_path: Path, open_log: Open
) -> None:
    log = await open_log(store=NOTHING)
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
    log = await open_log(store=StoreState("s", None, 0))
    assert len(ids(log)) == 4
    assert (await send(log, "b", client_id="b")).id == moved.id


async def test_lives_are_remembered_up_to_a_bound(tmp_path: Path, open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    for number in range(40):
        await send(log, str(number))
        await log.readmit(log.tail.page(Bounds(1)))
    generations = [entry.generation for entry in log.epochs]
    assert generations == list(range(10, 42))
    await log.close()
    log = await open_log(store=NOTHING)
    assert [entry.generation for entry in log.epochs] == generations
    assert log.epochs[0].begun == 0, "it stands for the first, which began with nothing"
