"""Conversations are listed."""

from __future__ import annotations

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, record, records
from tests.contract.support.stored import value


async def test_a_listing_ends_with_the_message_that_passes_its_bytes(store: MessageStore) -> None:
    await store.write([record(n, "x" * 3000, to=("alice", f"u{n}")) for n in range(1, 151)])
    for max_bytes, count in ((0, 2), (7000, 3), (1 << 40, 150)):
        found = await store.conversations("alice", before=MAX_ID, limit=1000, max_bytes=max_bytes)
        assert [one.channel for one in found] == [
            f"alice,u{n}" for n in range(150, 150 - count, -1)
        ]
    assert len(await store.conversations("alice", before=MAX_ID, limit=1000)) == 150


async def test_conversations_come_newest_first_and_page_by_last_id(store: MessageStore) -> None:
    await store.write([record(n, to=("alice", f"user{n % 4}")) for n in range(1, 10)])
    first = await store.conversations("alice", before=MAX_ID, limit=3)
    assert [one.channel for one in first] == ["alice,user1", "alice,user0", "alice,user3"]
    assert [one.last_id for one in first] == [START + n * STEP for n in (9, 8, 7)]
    assert value(first[0].last_message) == value(record(9, to=("alice", "user1")).body)
    assert first[0].participants == ("alice", "user1")
    rest = await store.conversations("alice", before=first[-1].last_id, limit=3)
    assert [one.channel for one in rest] == ["alice,user2"]
    assert await store.conversations("alice", before=MAX_ID, limit=0) == []


async def test_a_conversation_never_goes_back(store: MessageStore) -> None:
    await store.write([record(5)])
    await store.write(records(3))
    await store.write([record(4)])
    (conversation,) = await store.conversations("bob", before=MAX_ID, limit=5)
    assert conversation.last_id == START + 5 * STEP
    assert value(conversation.last_message) == value(record(5).body)


async def test_the_members_of_a_conversation_are_told_to_its_members(store: MessageStore) -> None:
    many = tuple(f"{name}-of-a-conversation-with-a-long-key" for name in "abcdefgh")
    await store.write([record(1, to=many), record(2, to=("alice", "bob"))])
    await store.write([record(3, to=many)])
    key = record(1, to=many).channel
    assert key.startswith(",sha256:")
    for user in many:
        assert await store.members(user, key) == Members(many, START + 3 * STEP)
    assert await store.members("bob", "alice,bob") == Members(("alice", "bob"), START + 2 * STEP)
    assert await store.members("alice", key) is None
    assert await store.members("alice", ",sha256:" + "0" * 64) is None
    assert await store.members("carol", "alice,bob") is None
