"""Dead letters are kept."""

from __future__ import annotations

import json

from chatsvc.core.ids import STEP
from chatsvc.core.record import pack, unpack
from chatsvc.log.reconcile import StoreState
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.store_state import state_of
from testkit.records import START, record, with_body
from tests.contract.support.store_places import Place
from tests.contract.support.stored import letter


async def test_the_newest_that_a_store_knows_may_be_a_dead_letter(store: MessageStore) -> None:
    identity = await store.identity()
    assert await store.dead_letters.newest() is None
    assert await state_of(store) == StoreState(identity, None, 0)
    put = [letter(record(3, "third")), letter(record(1, "first"))]
    await store.dead_letters.put(put)
    assert await store.dead_letters.newest() == put[0]
    await store.write([record(2, "second")])
    assert await state_of(store) == StoreState(identity, None, put[0].id, record(3, "third").body)
    damaged = DeadLetter(START + 4 * STEP, "damaged", "why", 1, b"no record")
    await store.dead_letters.put([damaged])
    assert await state_of(store) == StoreState(identity, None, damaged.id)
    await store.write([record(5, "fifth")])
    found = await state_of(store)
    assert found.head == START + 5 * STEP
    assert json.loads(found.newest or b"") == json.loads(record(5, "fifth").body)


async def test_dead_letters_are_kept_with_reason_and_bytes(
    store: MessageStore, place: Place
) -> None:
    bad = [with_body(record(n), b"\x00\xff" * n) for n in (3, 1, 2)]
    letters = [DeadLetter(one.id, "code", f"reason {one.id}", 17, pack(one)) for one in bad]
    await store.dead_letters.put(letters)
    await store.close()
    again = place.make()
    await again.open()
    box = again.dead_letters
    assert await box.count() == 3
    ordered = sorted(letters)
    assert await box.list() == ordered
    assert await box.list(limit=2) == ordered[:2]
    assert await box.list(after=ordered[0].id, limit=1) == ordered[1:2]
    assert await box.list(limit=0) == []
    found = await box.get(bad[0].id)
    assert found is not None
    assert unpack(found.id, found.data) == bad[0]
    assert await box.get(bad[0].id + 1) is None
    assert await box.drop([bad[0].id, bad[0].id + 1]) == 1
    assert await box.count() == 2
    await again.close()


async def test_putting_one_aside_again_replaces_its_reason(store: MessageStore) -> None:
    letter = DeadLetter(START, "first", "because", 1, b"bytes")
    await store.dead_letters.put([letter])
    await store.dead_letters.put([letter._replace(code="second", at_ms=2)])
    assert await store.dead_letters.list() == [letter._replace(code="second", at_ms=2)]


async def test_a_dead_letter_may_be_larger_than_any_document(store: MessageStore) -> None:
    data = bytes(range(256)) * 80_000
    await store.dead_letters.put([DeadLetter(START, "too_large", "why", 1, data)])
    found = await store.dead_letters.get(START)
    assert found is not None
    assert found.data == data
    assert await store.dead_letters.drop([START]) == 1
    await store.dead_letters.put([DeadLetter(START, "small", "why", 1, b"x")])
    assert (await store.dead_letters.list())[0].data == b"x"


async def test_a_hundred_dead_letters_are_listed_from_the_first(store: MessageStore) -> None:
    letters = [DeadLetter(number, "code", "reason", 1, b"?") for number in range(1, 102)]
    await store.dead_letters.put(letters)
    assert await store.dead_letters.list() == letters[:100]
    assert await store.dead_letters.list(after=100) == letters[100:]
    assert await store.dead_letters.list(after=1, limit=2) == letters[1:3]


async def test_one_dead_letter_among_its_neighbours(store: MessageStore) -> None:
    letters = [DeadLetter(number, "code", "reason", number, b"?") for number in (4, 5, 6, 8)]
    await store.dead_letters.put(letters)
    assert await store.dead_letters.get(5) == letters[1]
    assert await store.dead_letters.get(7) is None
