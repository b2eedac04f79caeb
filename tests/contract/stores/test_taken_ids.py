"""Records of the log whose ids are taken in a store are found."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import STEP
from chatsvc.storage.letter_records import taken_by_letters, taken_by_messages
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, record, records
from tests.contract.support.stored import letter


async def test_a_letter_of_another_message_takes_the_id(store: MessageStore) -> None:
    letters = store.dead_letters
    assert await taken_by_letters(letters, []) == []
    assert await taken_by_letters(letters, [record(1)]) == []
    await letters.put(
        [letter(record(1, "another")), letter(record(3)), letter(record(4, "theirs"))]
    )
    assert await taken_by_letters(letters, [record(1)]) == [record(1)]
    assert await taken_by_letters(letters, records(4)) == [record(1), record(4)]
    assert await taken_by_letters(letters, records(2, first=2)) == []


@pytest.mark.parametrize("data", [b"no record", b"\x9f\x02\xa1\xff", b"\x91" * 10_000])
async def test_a_damaged_letter_takes_no_id(store: MessageStore, data: bytes) -> None:
    await store.dead_letters.put([DeadLetter(START + STEP, "damaged", "why", 1, data)])
    assert await taken_by_letters(store.dead_letters, records(2)) == []


async def test_ids_are_taken_by_any_of_very_many_letters(store: MessageStore) -> None:
    await store.dead_letters.put([letter(one) for one in records(101, content="another")])
    assert await taken_by_letters(store.dead_letters, records(102)) == records(101)


async def test_another_message_takes_the_id(store: MessageStore) -> None:
    await store.write([record(1, "another"), record(3), record(4, "theirs")])
    assert await taken_by_messages(store, []) == []
    assert await taken_by_messages(store, records(5)) == [record(1), record(4)]
