"""What the operator's commands say of dead letters, one by one and page by page."""

from __future__ import annotations

import builtins
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from chatsvc.core.ids import format_id
from chatsvc.core.record import Record, pack
from chatsvc.storage.dead_letters import DeadLetterAdmin
from chatsvc.storage.ports.dead_letters import DeadLetter
from testkit import record_form_1
from testkit.client_ids import uuid7_at
from testkit.memory_store import MemoryLetters, MemoryStore
from testkit.records import record


class Letters(MemoryLetters):
    """Notes what is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: builtins.list[tuple[int, int]] = []

    async def list(self, *, after: int = 0, limit: int = 100) -> builtins.list[DeadLetter]:
        self.listed.append((after, limit))
        return await super().list(after=after, limit=limit)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.letters = store.dead_letters = Letters()
    return store


@pytest.fixture
def desk(store: MemoryStore) -> DeadLetterAdmin:
    return DeadLetterAdmin(store)


def letter(one: Record) -> DeadLetter:
    return DeadLetter(one.id, "code", "reason", 1, pack(one))


async def test_they_are_listed_by_the_hundred_from_the_first(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    letters = [DeadLetter(number, "code", "reason", 1, b"?") for number in range(1, 152)]
    await store.letters.put(letters)
    assert list(await desk.list()) == letters[:100]
    assert list(await desk.list(after=100)) == letters[100:]
    assert isinstance(store.letters, Letters)
    store.letters.listed.clear()
    assert [one async for one in desk.all()] == letters
    assert store.letters.listed == [(0, 100), (100, 100), (151, 100)]


@pytest.mark.parametrize("packed", [pack, record_form_1.pack])
async def test_a_letter_of_either_form_is_stored(
    store: MemoryStore, desk: DeadLetterAdmin, packed: Callable[[Record], bytes]
) -> None:
    one = record(1, client_id="k")
    one = one if packed is pack else record_form_1.as_before(one)
    await store.letters.put([DeadLetter(one.id, "code", "reason", 1, packed(one))])
    (result,) = await desk.replay()
    assert result.stored
    assert store.records == {one.id: one}
    assert await store.letters.count() == 0


async def test_a_letter_that_stays_is_named_with_its_reason(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    broken = DeadLetter(record(1).id, "crc", "damaged", 1, b"\xffnot a record")
    again = letter(record(2, client_id=uuid7_at(1)))
    refused = letter(record(3))
    await store.letters.put([broken, again, refused])
    await store.write([record(4, client_id=uuid7_at(1))])
    store.refuse = lambda one: one.id == refused.id
    results = await desk.replay()
    assert [(one.id, one.stored) for one in results] == [
        (broken.id, False),
        (again.id, False),
        (refused.id, False),
    ]
    assert all(one.reason for one in results)
    kept = await desk.show(refused.id)
    assert kept is not None
    assert (kept.code, kept.reason) == ("refused", "a test says so")


async def test_what_was_dropped_is_said_in_the_log(
    store: MemoryStore, desk: DeadLetterAdmin
) -> None:
    await store.letters.put([letter(record(1))])
    with capture_logs() as lines:
        assert await desk.drop([record(1).id, record(9).id]) == 1
    assert lines == [
        {
            "event": "dead_letters_dropped",
            "log_level": "warning",
            "count": 1,
            "message_ids": [format_id(record(1).id), format_id(record(9).id)],
        }
    ]
