"""Dead letters can be listed, shown, tried again and let go."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.record import Record, pack
from chatsvc.storage.dead_letters import DAMAGED, DeadLetterAdmin
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit.client_ids import uuid7_at
from testkit.memory_store import MemoryStore
from testkit.records import record, records


def letter(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def desk(store: MemoryStore) -> DeadLetterAdmin:
    return DeadLetterAdmin(store)


async def test_all_of_them_are_listed_however_many(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    await store.letters.put([letter(one) for one in records(250)])
    assert [one.id async for one in desk.all()] == [one.id for one in records(250)]
    assert len(await desk.list(limit=7)) == 7
    assert await desk.count() == 250
    assert await desk.show(record(9).id) == letter(record(9))


async def test_a_replay_stores_and_drops(store: MemoryStore, desk: DeadLetterAdmin) -> None:
    await store.letters.put([letter(one) for one in records(3)])
    results = await desk.replay()
    assert [(one.id, one.stored) for one in results] == [(one.id, True) for one in records(3)]
    assert sorted(store.records) == [one.id for one in records(3)]
    assert await desk.count() == 0


async def test_only_those_named_are_replayed(store: MemoryStore, desk: DeadLetterAdmin) -> None:
    await store.letters.put([letter(one) for one in records(3)])
    results = await desk.replay([record(2).id, record(9).id])
    assert [one.id for one in results] == [record(2).id]
    assert await desk.count() == 2


async def test_what_is_refused_again_stays_with_the_new_reason(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    await store.letters.put([letter(one) for one in records(2)])
    store.refuse = lambda one: one.id == record(1).id
    results = await desk.replay()
    assert [(one.stored, one.reason) for one in results] == [
        (False, "a test says so"),
        (True, None),
    ]
    (kept,) = await desk.list()
    assert (kept.code, kept.data) == ("refused", pack(record(1)))
    assert kept.at_ms > 1


async def test_bytes_that_are_no_record_stay(store: MemoryStore, desk: DeadLetterAdmin) -> None:
    broken = DeadLetter(record(1).id, "crc", "damaged", 1, b"\xffnot a record")
    newer = DeadLetter(record(2).id, "crc", "newer", 1, b"\x91\x63")
    await store.letters.put([broken, newer])
    results = await desk.replay()
    assert [one.stored for one in results] == [False, False]
    assert "cannot be read" in str(results[0].reason)
    assert await desk.list() == [broken, newer]


async def test_bytes_that_failed_their_checksum_never_become_history(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    damaged = letter(record(1, to=("alice", "mallory")))._replace(code=DAMAGED)
    await store.letters.put([damaged, letter(record(2))])
    for ids in (None, [damaged.id]):
        result, *others = await desk.replay(ids)
        assert (result.id, result.stored) == (damaged.id, False)
        assert "failed their checksum" in str(result.reason)
        assert all(one.stored for one in others)
    assert list(store.records) == [record(2).id]
    assert await desk.list() == [damaged]


async def test_a_store_that_goes_away_loses_no_letter(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    await store.letters.put([letter(one) for one in records(3)])
    store.away = True
    with pytest.raises(StoreUnavailable):
        await desk.replay()
    assert await desk.count() == 3


async def test_dropped_ones_are_gone(store: MemoryStore, desk: DeadLetterAdmin) -> None:
    await store.letters.put([letter(one) for one in records(3)])
    assert await desk.drop([record(1).id, record(9).id]) == 1
    assert await desk.count() == 2


async def test_what_was_accepted_again_meanwhile_is_not_doubled(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    client_id = uuid7_at(1)
    await store.letters.put([letter(record(1, client_id=client_id))])
    await store.write([record(2, client_id=client_id)])
    (result,) = await desk.replay()
    assert not result.stored
    assert f"as message {record(2).id:016x}" in str(result.reason)
    assert await desk.count() == 1
    assert list(store.records) == [record(2).id]


async def test_a_replay_that_was_cut_off_is_repeated(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    """Stored, and not dropped yet: it is not in its own way."""
    one = record(1, client_id=uuid7_at(1))
    await store.letters.put([letter(one)])
    await store.write([one])
    (result,) = await desk.replay()
    assert result.stored
    assert await desk.count() == 0


async def test_a_string_that_is_no_uuid7_may_have_been_used_again(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    await store.letters.put([letter(record(1, client_id="k"))])
    await store.write([record(2, client_id="k")])
    (result,) = await desk.replay()
    assert result.stored
    assert len(store.records) == 2
