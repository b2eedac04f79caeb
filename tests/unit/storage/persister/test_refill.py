"""What the persister stores again, what a store lacks, and what the log learns from it."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import id_ms
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.log.reconcile import Mark, StoreState
from chatsvc.log.tail import Tail
from chatsvc.storage.store_state import state_of
from testkit.memory_store import MemoryStore
from testkit.records import START, record, records
from tests.unit.support.noted_log import NotedLog
from tests.unit.support.persisting import running
from tests.unit.support.virtual_time import in_virtual_time


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def log() -> NotedLog:
    return NotedLog()


@pytest.mark.parametrize("unsaved", [300, 500])
@in_virtual_time
async def test_what_is_stored_again_while_keeping_up_goes_in_batches_of_the_same_size(
    log: NotedLog, store: MemoryStore, unsaved: int
) -> None:
    log.tail.extend(records(1000 + unsaved))
    log.tail.advance(record(1000).id)
    log.begin_at = START
    async with running(log, store):
        await asyncio.sleep(5)
        assert store.batches == [500, 500, unsaved]


@in_virtual_time
async def test_the_last_that_is_stored_again_is_no_dead_letter(
    log: NotedLog, store: MemoryStore
) -> None:
    log.tail.extend(records(4))
    log.tail.advance(record(3).id)
    log.begin_at = START
    store.refuse = lambda one: one.id >= record(3).id
    async with running(log, store):
        await asyncio.sleep(5)
        assert list(store.letters.held) == [record(4).id]


@in_virtual_time
async def test_what_a_store_lacks_is_read_a_mebibyte_at_once(
    log: NotedLog, store: MemoryStore
) -> None:
    log.records = records(10)
    end = log.records[-1].id
    log.tail = Tail(recent_bytes=0, watermark=end, floor=end, stored=0)
    async with running(log, store):
        await asyncio.sleep(5)
        assert log.reads == [(0, end, 1000, 1024 * 1024)]


@in_virtual_time
async def test_a_look_learns_the_past(log: NotedLog, store: MemoryStore) -> None:
    log.unknown = True
    store.records = {one.id: one for one in records(2)}
    async with running(log, store):
        await asyncio.sleep(3)
        assert log.learnt == [(id_ms(record(2).id) + AHEAD_MS, [])]


async def test_the_state_of_a_store_is_its_mark_and_its_newest_message(
    store: MemoryStore,
) -> None:
    assert await state_of(store) == StoreState("memory", None, 0, None)
    assert store.reads == 0
    store.mark = Mark(record(2).id, 3, "fake")
    store.records = {one.id: one for one in records(2)}
    newest = record(2)
    assert await state_of(store) == StoreState("memory", store.mark, newest.id, newest.body)


async def test_records_that_come_while_a_batch_waits_do_not_wake_it(
    log: NotedLog, store: MemoryStore
) -> None:
    async with running(log, store, batch_ms=10_000_000, batch=3) as persister:
        for number in (1, 2):
            log.tail.extend(records(1, first=number))
            for _ in range(10):
                await asyncio.sleep(0)
        assert not persister._pauses.idle
        log.tail.extend(records(1, first=3))
        for _ in range(10):
            await asyncio.sleep(0)
        assert store.batches == [3]
