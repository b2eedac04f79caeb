"""How many touched keys a log on disk remembers."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from chatsvc.core.errors import LogUnavailable, Stale
from chatsvc.log.base import Appended
from chatsvc.log.guards import Guard
from chatsvc.log.local.log import LocalLog
from chatsvc.log.reconcile import StoreState
from testkit.drafts import draft
from testkit.group_drafts import GROUP, joining
from tests.unit.support.local_logs import NOTHING, Open, mark, send


async def touch(log: LocalLog, key: str) -> Appended:
    return await log.append(msgspec.structs.replace(draft(), touches=(key,)))


async def test_keys_beyond_the_bound_go_once_their_records_are_stored(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    log._touches._max_keys = 2
    first = [await touch(log, key) for key in "abcd"]
    assert len(log._touches) == 4, "none of them is stored"
    log.advance_watermark(first[1].id)
    assert len(log._touches) == 2
    assert log._touches.forgotten == first[1].id
    with pytest.raises(Stale):
        await log.append_all([draft()], Guard(first[1].id - 1, ("x",)))
    await log.append_all([draft()], Guard(first[1].id, ("x", "a", "b")))


async def test_a_commit_that_fails_takes_its_touches_back(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(store=NOTHING)
    as_of = log.tail.head

    def full(_: object) -> None:
        raise LogUnavailable("the disk is full", code="disk_full")

    touching = msgspec.structs.replace(draft(), touches=("r",))
    with monkeypatch.context() as patch:
        patch.setattr(log._file, "insert", full)
        lost = log.append_all([touching, draft()], Guard(as_of, ("r",)))
        waits = log.append_all([touching], Guard(as_of, ("r",)))
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await lost
        with pytest.raises(LogUnavailable, match="the disk is full"):
            await waits
    assert len(log._touches) == 0
    (kept,) = await log.append_all([touching], Guard(as_of, ("r",)))
    with pytest.raises(Stale) as raised:
        await log.append_all([touching], Guard(as_of, ("r",)))
    assert raised.value.by == kept.id


async def test_a_store_that_has_to_be_filled_again_keeps_them(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    touched = [await touch(log, key) for key in "abcd"]
    log.advance_watermark(touched[-1].id)
    log._touches._max_keys = 2
    await log.attach_store(NOTHING._replace(identity="another"))
    assert log.tail.stored < touched[0].id < log.tail.watermark
    await send(log)
    assert len(log._touches) == 4


def filled(log: LocalLog, position: int) -> StoreState:
    """The store, once it has everything up to the position."""
    log.advance_watermark(position)
    return StoreState("s", mark(log, position), position)


async def test_a_touch_that_only_the_store_has_seen_makes_stale(
    tmp_path: Path, open_log: Open
) -> None:
    """The log was put back from a backup: it lacks a touch, and its store does not."""
    log = await open_log(store=NOTHING)
    first = await touch(log, "r")
    there = filled(log, first.id)
    await log.close()
    (tmp_path / "older").mkdir()
    shutil.copy(tmp_path / "log.db", tmp_path / "older" / "log.db")
    log = await open_log(store=there)
    there = filled(log, (await touch(log, "r")).id)
    await log.close()
    older = await open_log(tmp_path / "older")
    assert older.tail.head == first.id
    await older.attach_store(there)
    with pytest.raises(Stale) as raised:
        await older.append_all([draft()], Guard(first.id, ("r",)))
    assert raised.value.by == older.tail.base == there.head
    await older.append_all([draft()], Guard(older.tail.head, ("r",)))


async def test_records_that_get_another_place_make_older_decisions_stale(open_log: Open) -> None:
    """The store holds other records under their ids: what those touched is not known."""
    log = await open_log(store=NOTHING)
    sent = await touch(log, "a")
    record = log.tail.get(sent.id)
    assert record is not None
    as_of = sent.id - 1
    await log.readmit([record])
    with pytest.raises(Stale) as raised:
        await log.append_all([draft()], Guard(as_of, ("b",)))
    assert raised.value.by == sent.id
    await log.append_all([draft()], Guard(sent.id, ("b",)))


async def test_rows_of_a_record_that_gets_another_place_are_read_anew(open_log: Open) -> None:
    log = await open_log(store=NOTHING)
    sent = await log.append(joining("alice"))
    before, record = log.state.channel_row(GROUP), log.tail.get(sent.id)
    assert before is not None
    assert before.rev == sent.id
    assert record is not None
    await log.readmit([record])
    after = log.state.channel_row(GROUP)
    assert after is not None
    assert after.rev == log.tail.head > sent.id
    assert after.state == before.state


@pytest.mark.parametrize("again", [False, True])
async def test_what_made_a_decision_stale_may_be_in_the_store_alone(
    open_log: Open, again: bool
) -> None:
    log = await open_log(store=NOTHING, recent_bytes=0, idempotency_ms=0)
    sent = [await touch(log, key) for key in "ab"]
    there = filled(log, sent[-1].id)
    if again:
        await log.close()
        log = await open_log(store=there, recent_bytes=0, idempotency_ms=0)
    with pytest.raises(Stale) as raised:
        await log.append_all([draft()], Guard(sent[0].id, ("b",)))
    assert raised.value.by == sent[-1].id
    assert log.tail.get(sent[-1].id) is None
    assert log.tail.relied_on == sent[-1].id
