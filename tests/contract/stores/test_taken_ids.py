"""Records of the log whose ids are taken in a store are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from chatsvc.core.ids import STEP
from chatsvc.core.record import Record
from chatsvc.log.local.attachment import knows
from chatsvc.log.local.file import LogFile
from chatsvc.log.reconcile import Mark, fingerprint
from chatsvc.storage.letter_records import taken_by_letters, taken_by_records
from chatsvc.storage.ports.dead_letters import DeadLetter
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.store_state import state_of
from testkit.records import START, change, record, records
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
    assert await taken_by_records(store, []) == []
    assert await taken_by_records(store, records(5)) == [record(1), record(4)]


async def test_a_change_takes_the_id(store: MessageStore) -> None:
    edit, read = change(1, "edit"), change(2, "read", target="alice")
    await store.write([edit, read, record(3)])
    others = [change(1, "edit", text="other"), record(2), change(3, "edit")]
    assert await taken_by_records(store, others) == others
    assert await taken_by_records(store, [edit, read, record(3), change(4)]) == []


class OneRecord:
    """A log's file that holds one record, whatever it is asked for."""

    def __init__(self, held: Record) -> None:
        self._held = held

    def get(self, record_id: int) -> Record:
        return self._held


@pytest.mark.parametrize("make", [record, change])
async def test_the_newest_of_a_store_is_compared_with_the_logs(
    store: MessageStore, make: Callable[..., Record]
) -> None:
    """A log that was put back and went on has another record under the id of the newest."""
    stored, to = make(2), ("alice", "carol")
    await store.write([record(1), stored])
    await store.set_watermark(None, Mark(stored.id, 1, "epoch", content=fingerprint(stored.body)))
    found = await state_of(store)
    assert knows(cast(LogFile, OneRecord(stored)), found)
    assert not knows(cast(LogFile, OneRecord(make(2, to=to))), found)
