"""Client ids over restarts: what is read back, what is trimmed, what is not known."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chatsvc.core.errors import LogUnavailable
from chatsvc.core.ids import id_at, id_ms, now_ms
from chatsvc.log.base import Appended
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.log.local import key_file, maintenance, opening
from chatsvc.log.local import log as local
from chatsvc.log.local.log import LocalLog
from chatsvc.log.local.verify import BadRow, accept_loss, remove
from chatsvc.log.reconcile import Mark, StoreState
from testkit.boot import Boot
from testkit.client_ids import uuid7_at
from testkit.drafts import draft
from testkit.waiting import until

WINDOW = 600
HOUR = 3_600_000
Open = Callable[..., Awaitable[LocalLog]]


@pytest.fixture
def boot() -> Boot:
    return Boot()


@pytest.fixture
async def opened(
    tmp_path: Path, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Opens the log in this test's folder, beside a store that is empty; closes all."""
    monkeypatch.setattr(maintenance, "_SECONDS", 0.01)
    logs: list[LocalLog] = []

    async def open_log(**options: Any) -> LocalLog:
        values: dict[str, Any] = {
            "recent_bytes": 1 << 20,
            "backlog_bytes": 1 << 30,
            "idempotency_ms": WINDOW * 1000,
            "idempotency_keys": 1000,
            "retention_ms": 0,
            "elapsed_clock": boot,
        }
        identity, head = options.pop("store_identity", "s"), options.pop("store_head", 0)
        mark = None
        if logs and head:  # as the persister of the log before has left it
            entry = logs[-1].epochs[-1]
            mark = Mark(head, entry.generation, entry.epoch)
        values["store"] = None if identity is None else StoreState(identity, mark, head)
        log = await LocalLog.open(tmp_path, **(values | options))
        logs.append(log)
        return log

    yield open_log
    for log in logs:
        await log.close()


async def send(log: LocalLog, client_id: str, sender: str = "alice") -> Appended:
    return await asyncio.wait_for(log.append(draft(sender=sender, client_id=client_id)), 30)


def key(client_id: str, sender: str = "alice") -> tuple[str, str, str]:
    return sender, ",".join(sorted([sender, "bob"])), client_id


async def pass_window(log: LocalLog, boot: Boot) -> None:
    """All that is in the log now is stored, and a window old."""
    head = log.tail.head
    log.advance_watermark(head)
    await until(lambda: log.older_than(0) == head)
    boot.seconds += WINDOW
    await until(lambda: log._keys.position == head)


def stored_in(folder: Path, question: str) -> int:
    db = sqlite3.connect(f"{(folder / 'log.db').as_uri()}?mode=ro", uri=True)
    try:
        return int(db.execute(question).fetchone()[0])
    finally:
        db.close()


async def test_what_was_forgotten_stays_the_stores_to_tell_over_a_restart(
    opened: Open, boot: Boot
) -> None:
    log = await opened()
    minted = now_ms()
    sent = await send(log, uuid7_at(minted))
    await pass_window(log, boot)
    for _ in range(2):
        assert not log.first_use(key(uuid7_at(minted)))
        assert not log.knows_key(key(uuid7_at(minted)))
        assert log.knows_key(key(uuid7_at(minted + 1)))
        assert log.knows_key(key(uuid7_at(minted), "carol"))
        assert log.forgotten_are_stored
        await log.close()
        log = await opened(store_head=sent.id)


async def test_a_clock_that_steps_changes_nothing(
    opened: Open, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened()
    used = uuid7_at(now_ms())
    sent = await send(log, used)
    log.advance_watermark(sent.id)
    for away in (5 * HOUR, -5 * HOUR):
        monkeypatch.setattr(local, "now_ms", lambda by=away: now_ms() + by)
        monkeypatch.setattr(opening, "now_ms", lambda by=away: now_ms() + by)
        assert not (await send(log, uuid7_at(now_ms(), away % 7 + 2))).duplicate
        log.advance_watermark(log.tail.head)
        assert (await send(log, used)).id == sent.id
        await log.close()
        log = await opened(store_head=sent.id)
        assert (await send(log, used)).id == sent.id


async def test_nothing_is_trimmed_before_it_is_saved_what_was_forgotten(
    opened: Open, boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened()
    used = uuid7_at(now_ms())
    await send(log, used)
    await send(log, "the newest, which is never trimmed")
    real = log._file.set_meta

    def full(name: str, value: str | int) -> None:
        if name == "keys":
            raise LogUnavailable("the log's disk is full", code="disk_full")
        real(name, value)

    monkeypatch.setattr(log._file, "set_meta", full)
    monkeypatch.setattr(key_file, "_SAVE_SOON_SECONDS", 0.0)
    await pass_window(log, boot)
    monkeypatch.setattr(local, "now_ms", lambda: now_ms() + HOUR)
    monkeypatch.setattr(opening, "now_ms", lambda: now_ms() + HOUR)
    trimmed = asyncio.Event()
    log.maintenance._trim()
    log._worker.maintain(lambda: log._loop.call_soon_threadsafe(trimmed.set))
    await asyncio.wait_for(trimmed.wait(), 30)
    assert stored_in(tmp_path, "SELECT count(*) FROM records") == 2
    monkeypatch.setattr(log._file, "set_meta", real)
    await until(lambda: stored_in(tmp_path, "SELECT count(*) FROM records") == 1)
    assert not log.knows_key(key(used))


async def test_what_was_forgotten_and_not_saved_is_read_back(
    opened: Open, boot: Boot, tmp_path: Path
) -> None:
    log = await opened()
    used = uuid7_at(now_ms())
    sent = await send(log, used)
    await pass_window(log, boot)
    assert not log.knows_key(key(used))
    copy = tmp_path / "as it was when it was killed"
    copy.mkdir()
    for name in ("log.db", "log.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    await log.close()
    for name in ("log.db", "log.db-wal"):
        (tmp_path / name).write_bytes((copy / name).read_bytes())
    log = await opened(store_head=sent.id)
    assert (await send(log, used)).id == sent.id


async def test_a_store_that_lost_something_is_not_believed_until_it_is_filled_again(
    opened: Open, boot: Boot
) -> None:
    log = await opened()
    first = await send(log, uuid7_at(now_ms()))
    second = await send(log, uuid7_at(now_ms(), 2))
    await pass_window(log, boot)
    await log.close()
    log = await opened(store_head=first.id, retention_ms=HOUR)
    assert log.tail.stored <= first.id
    assert not log.forgotten_are_stored
    log.advance_watermark(second.id)
    assert log.forgotten_are_stored


async def test_more_keys_than_the_bounds_are_not_read_back(opened: Open) -> None:
    log = await opened(retention_ms=HOUR)
    sent = [await send(log, uuid7_at(1000 + at)) for at in range(50)]
    await log.close()
    log = await opened(idempotency_keys_per_sender=10, retention_ms=HOUR)
    assert len(log._keys) == 10
    assert log.first_use(key(uuid7_at(1049)))
    assert not log.knows_key(key(uuid7_at(1039)))
    assert not log.forgotten_are_stored, "they are not stored yet"
    log.advance_watermark(sent[-1].id)
    assert log.forgotten_are_stored


async def test_one_that_floods_pushes_out_nobody_elses(opened: Open) -> None:
    log = await opened(idempotency_keys=60, idempotency_keys_per_sender=50)
    honest = [uuid7_at(1000 + at) for at in range(5)]
    for client_id in honest:
        await send(log, client_id, "honest")
    for at in range(200):
        await send(log, uuid7_at(now_ms() + 10 * HOUR, at), "flood")
        log.advance_watermark(log.tail.head)
    await send(log, "another commit")
    assert all(log.first_use(key(client_id, "honest")) for client_id in honest)
    assert len(log._keys) <= 60
    assert log.counts.keys_forgotten_early >= 145
    assert log.knows_key(key(uuid7_at(now_ms(), 77), "honest"))
    assert not log.knows_key(key(uuid7_at(now_ms(), 77), "flood"))


# --- a past that this log does not know


async def test_a_new_log_beside_an_empty_store_has_no_past(opened: Open) -> None:
    log = await opened()
    log.learn_past(0, [])
    for ms in (0, now_ms(), now_ms() + 1000 * HOUR):
        assert log.knows_key(key(uuid7_at(ms)))


async def test_a_new_log_with_the_store_away_leaves_its_past_to_it(
    opened: Open, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now_ms()
    monkeypatch.setattr(local, "now_ms", lambda: start)
    monkeypatch.setattr(opening, "now_ms", lambda: start)
    log = await opened(store_identity=None, store_head=None)
    assert log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(start + AHEAD_MS)))
    assert not log.knows_key(key(uuid7_at(start + HOUR))), "ahead of the clock"
    monkeypatch.setattr(local, "now_ms", lambda: start + HOUR)
    monkeypatch.setattr(opening, "now_ms", lambda: start + HOUR)
    assert not log.knows_key(key(uuid7_at(start + HOUR))), "a clock that is set proves nothing"
    boot.seconds += HOUR / 1000
    assert log.knows_key(key(uuid7_at(start + HOUR)))
    await log.close()
    log = await opened(store_identity=None, store_head=None)
    assert log.past_is_unknown
    await log.attach_store(StoreState("s", None, 0))
    log.learn_past(start - HOUR + AHEAD_MS, [("future", start + 9 * HOUR)])
    assert not log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(start - HOUR + AHEAD_MS)))
    assert log.knows_key(key(uuid7_at(start)))
    assert not log.knows_key(key(uuid7_at(start + 8 * HOUR), "future"))
    await log.close()
    log = await opened()
    assert not log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(start + 8 * HOUR), "future"))


async def test_a_store_ahead_is_asked_for_what_it_knows(opened: Open, boot: Boot) -> None:
    log = await opened()
    log.learn_past(0, [])
    used = uuid7_at(now_ms() - HOUR)
    await send(log, used, "carol")
    await pass_window(log, boot)
    await log.close()
    ahead = id_at(now_ms() + 1000)
    log = await opened(store_head=ahead)
    assert log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(id_ms(ahead) + AHEAD_MS)))
    log.learn_past(id_ms(ahead) + AHEAD_MS, [])
    assert not log.knows_key(key(uuid7_at(id_ms(ahead) + AHEAD_MS)))
    assert log.knows_key(key(uuid7_at(id_ms(ahead) + AHEAD_MS + 1)))
    assert not log.knows_key(key(used, "carol")), "what the log forgot itself still counts"


async def test_another_store_is_asked_for_what_it_knows(opened: Open) -> None:
    log = await opened()
    log.learn_past(0, [])
    sent = await send(log, "k")
    await log.close()
    log = await opened(store_identity="another", store_head=sent.id - 64)
    assert log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(id_ms(sent.id))))


@pytest.mark.parametrize("running", [False, True], ids=["at the start", "later"])
async def test_what_a_mark_or_a_dead_letter_tells_is_of_the_past_as_well(
    opened: Open, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    """The newest that the store knows of is a dead letter: the head is below its mark."""
    start = now_ms()
    monkeypatch.setattr(local, "now_ms", lambda: start)
    monkeypatch.setattr(opening, "now_ms", lambda: start)
    used = id_at(start - HOUR)
    store = StoreState("another", Mark(used, 1, "before"), id_at(start - 2 * HOUR))
    log = await opened(**({} if running else {"store": store}))
    if running:
        log.learn_past(0, [])
        await log.attach_store(store)
    assert log.past_is_unknown
    assert not log.knows_key(key(uuid7_at(id_ms(used))))
    assert log.knows_key(key(uuid7_at(id_ms(used) + AHEAD_MS + 1)))


@pytest.mark.parametrize("how", ["quarantined", "loss accepted"])
async def test_a_log_that_lost_a_record_does_not_know_its_key(
    opened: Open, tmp_path: Path, how: str
) -> None:
    log = await opened(retention_ms=HOUR)
    log.learn_past(0, [])
    used = uuid7_at(now_ms() - 5)
    lost = await send(log, used)
    last = await send(log, "the last")
    log.advance_watermark(last.id)
    await log.close()
    remove(tmp_path / "log.db", (BadRow(lost.id, "checksum", b""),))
    if how == "loss accepted":
        accept_loss(tmp_path / "log.db")
    log = await opened(retention_ms=HOUR, store_head=last.id)
    assert log.past_is_unknown
    log.learn_past(id_ms(last.id) + AHEAD_MS, [])
    assert not log.knows_key(key(used))
    assert log.first_use(key("the last"))


async def test_a_log_of_an_older_version_is_read_back_and_its_past_is_asked_for(
    opened: Open, tmp_path: Path
) -> None:
    log = await opened(retention_ms=HOUR)
    used = uuid7_at(now_ms())
    sent = await send(log, used)
    log.advance_watermark(sent.id)
    await log.close()
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("DELETE FROM meta WHERE key LIKE 'keys%'")
    db.close()
    log = await opened(retention_ms=HOUR, store_head=sent.id)
    assert log.past_is_unknown
    assert (await send(log, used)).id == sent.id
    assert not log.knows_key(key(uuid7_at(id_ms(sent.id) + AHEAD_MS)))


async def test_after_a_loss_any_string_is_the_stores_to_tell_for_a_window(
    opened: Open, boot: Boot
) -> None:
    log = await opened()
    log.learn_past(0, [])
    sent = await send(log, "k")
    log.advance_watermark(sent.id)
    assert log.knows_key(key("other")), "nothing is lost"
    await log.close()
    store = StoreState("another", Mark(sent.id, 1, "before", window_start=9), sent.id)
    log = await opened(store=store)
    log.learn_past(id_ms(sent.id) + AHEAD_MS, [])
    assert log.knows_key(key("k")), "it remembers this itself"
    assert not log.knows_key(key("other"))
    assert (log.used_above(key("other")), log.window_start) == (9, 9)
    await log.close()
    boot.seconds += WINDOW - 1
    log = await opened(store=store)
    assert not log.knows_key(key("other"))
    boot.seconds += 1
    assert log.knows_key(key("other"))


async def test_what_the_next_mark_says_is_a_window_old(opened: Open, boot: Boot) -> None:
    log = await opened()
    assert log.window_start == 0
    sent = await send(log, "k")
    log.advance_watermark(sent.id)
    await pass_window(log, boot)
    assert log.window_start == sent.id
    await log.close()
    log = await opened(store_head=sent.id)
    assert log.window_start == sent.id
