"""What a store lacks is read from the file."""

from __future__ import annotations

import asyncio
import json

import pytest

from chatsvc.core.ids import STEP
from chatsvc.core.record import Record, pack
from chatsvc.log.tail import Tail
from chatsvc.storage.persister.batches import BatchSource
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.memory_store import MemoryStore
from testkit.records import START, record, records
from testkit.waiting import until
from tests.unit.support.persisting import Make, WatchedLog


async def test_what_a_store_lacks_is_read_from_the_file_and_is_no_backlog(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    everything = records(2500)
    log.records = everything[:2400]
    log.tail = Tail(
        recent_bytes=0, watermark=everything[2399].id, floor=everything[2399].id, stored=0
    )
    log.tail.extend(everything[2400:])
    persister = make()
    store.gate = asyncio.Event()
    persister.start()
    await until(lambda: [after for after, *_ in log.reads] == [0])
    assert persister.health == (
        "degraded",
        "the store lacks what one before it had, and is being filled from the log",
        100,
    )
    store.gate.set()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert list(store.records) == [one.id for one in everything]
    assert store.batches == [1000, 1000, 400, 100]
    await until(lambda: persister.health == ("ok", None, 0))


async def test_what_is_stored_again_for_good_measure_is_put_aside_once(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    log.tail.extend(records(4))
    log.tail.advance(records(3)[-1].id)
    log.begin_at = START
    store.refuse = lambda one: one.id in (records(2)[-1].id, records(4)[-1].id)
    make().start()
    await until(lambda: log.tail.watermark == log.tail.head)
    assert list(store.letters.held) == [records(4)[-1].id]
    assert store.batches == [4]


async def test_a_message_whose_id_another_has_is_no_dead_letter(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    taken = record(2, "what was acknowledged before the log was put back")
    store.records[taken.id] = taken
    log.tail.extend(records(3))
    log.records = records(3)
    make().start()
    await until(lambda: log.tail.unsaved_count == 0)
    assert store.letters.held == {}
    assert store.records[taken.id] == taken
    contents = [json.loads(one.body)["content"] for one in store.records.values()]
    assert sorted(contents) == sorted(
        ["message 1", json.loads(taken.body)["content"], "message 3", "message 2"]
    )


async def test_where_nothing_is_left_to_store_the_position_goes_on(
    make: Make, log: WatchedLog, store: MemoryStore
) -> None:
    """The last record was taken out of the log: nothing has its id, and all is stored."""
    log.tail = Tail(recent_bytes=0, watermark=START, floor=START, stored=0)
    persister = make()
    persister.start()
    await until(lambda: not log.tail.refilling)
    assert store.batches == []
    await until(lambda: persister.health == ("ok", None, 0))


async def ids_of_next(log: WatchedLog, store: MemoryStore) -> list[int]:
    return [one.id for one in await BatchSource(log, store, 10).next()]


@pytest.mark.parametrize(("base", "is_placed_anew"), [(1, False), (2, True), (3, True)])
async def test_up_to_the_base_an_id_that_a_dead_letter_has_is_given_up(
    log: WatchedLog, store: MemoryStore, base: int, is_placed_anew: bool
) -> None:
    await store.letters.put([letter_of(record(2, "another"))])
    log.tail.base = START + base * STEP
    log.tail.extend(records(2, first=2))
    found = await ids_of_next(log, store)
    assert (record(2).id in found) is not is_placed_anew
    assert len(found) == 2


async def test_what_is_stored_already_keeps_its_id(log: WatchedLog, store: MemoryStore) -> None:
    await store.letters.put([letter_of(record(2, "another"))])
    log.tail.extend(records(3))
    log.tail.advance(record(2).id)
    log.tail.base = record(3).id
    log.begin_at = START
    assert await ids_of_next(log, store) == [one.id for one in records(3)]


def letter_of(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))
