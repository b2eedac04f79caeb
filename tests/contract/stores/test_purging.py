"""Old messages are deleted."""

from __future__ import annotations

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, record, records
from tests.contract.support.stored import ids


async def test_a_purge_takes_the_oldest_in_bounded_batches(store: MessageStore) -> None:
    await store.write(records(10))
    before = START + 8 * STEP
    assert await store.purge(before, limit=4) == 4
    assert ids(await store.user_page("bob", Bounds(20)))[0] == START + 5 * STEP
    assert await store.purge(before, limit=4) == 3
    assert await store.purge(before, limit=4) == 0
    assert ids(await store.channel_page("alice,bob", Bounds(20))) == [
        START + n * STEP for n in (8, 9, 10)
    ]
    assert await store.count_user("alice", Bounds(20)) == 3
    assert await store.head() == START + 10 * STEP


async def test_a_conversation_goes_with_its_newest_message(store: MessageStore) -> None:
    await store.write(
        [
            record(1, to=("alice", "old")),
            record(2, to=("alice", "bob")),
            record(3, to=("alice", "bob")),
        ]
    )
    await store.purge(START + 3 * STEP)
    found = await store.conversations("alice", before=MAX_ID, limit=9)
    assert [one.channel for one in found] == ["alice,bob"]
    assert await store.conversations("old", before=MAX_ID, limit=9) == []
    await store.write([record(4, to=("alice", "old"))])
    assert len(await store.conversations("old", before=MAX_ID, limit=9)) == 1


async def test_a_purge_deletes_a_thousand_at_once(store: MessageStore) -> None:
    await store.write(records(1001))
    assert [await store.purge(MAX_ID) for _ in range(3)] == [1000, 1, 0]
