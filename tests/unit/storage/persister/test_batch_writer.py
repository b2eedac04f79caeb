"""Ids that a store has for other messages: dead letters, and messages placed anew."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import STEP
from chatsvc.core.record import pack, unpack
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.memory_store import MemoryStore
from testkit.records import record, records
from testkit.waiting import until
from tests.unit.support.persisting import Make, WatchedLog


async def test_what_has_the_id_of_a_dead_letter_of_another_message_is_placed_anew(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """Also where the store refuses it: the letter is not replaced."""
    theirs = record(2, "theirs")
    letter = DeadLetter(theirs.id, "code", "reason", 1, pack(theirs))
    damaged = DeadLetter(record(3).id, "log_damaged", "reason", 1, b"no record")
    store.letters.held = {letter.id: letter, damaged.id: damaged}
    store.refuse = lambda one: b"message 2" in one.body
    log.records = records(4)
    log.tail.extend(log.records)
    log.tail.base = theirs.id + 10 * STEP
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    placed = log.tail.head
    assert placed > records(4)[-1].id
    assert sorted(store.records) == [one.id for one in records(4) if one.id != theirs.id]
    assert store.letters.held[theirs.id] == letter
    assert unpack(placed, store.letters.held[placed].data).digest == record(2).digest


@pytest.mark.parametrize("base", [True, False])
async def test_what_is_refused_and_has_the_id_of_another_message_is_placed_anew(
    make: Make, log: WatchedLog, store: MemoryStore, base: bool
) -> None:
    """It becomes a dead letter there. The store is looked into only where that may be."""
    theirs = record(2, "theirs")
    store.records = {theirs.id: theirs}
    store.refuse = lambda one: b'"message ' in one.body
    log.records = records(2)
    log.tail.extend(log.records)
    log.tail.base = theirs.id if base else 0
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    placed = log.tail.head if base else theirs.id
    assert list(store.letters.held) == [record(1).id, placed]
    assert store.reads == (3 if base else 1), "the newest when they met, and the two"


async def test_its_own_dead_letters_keep_their_ids(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    own = record(2)
    store.letters.held = {own.id: DeadLetter(own.id, "code", "reason", 1, pack(own))}
    log.tail.extend(records(4))
    log.tail.base = own.id
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert sorted(store.records) == [one.id for one in records(4)]


async def test_letters_are_looked_at_only_where_another_past_may_be(
    make: Make, log: WatchedLog, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.letters, "list", None)
    log.tail.base = record(0).id
    make().start()
    log.tail.extend(records(4))
    await until(lambda: log.tail.watermark == log.tail.head)
