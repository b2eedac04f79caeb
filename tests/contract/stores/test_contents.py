"""What was written is what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.core.page import Bounds
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import record, records, with_body
from tests.contract.support.stored import expect, value


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": None, "b": True, "c": [], "d": {}},
        {"int": 1, "float": 1.0, "negative": -0.0, "small": 5e-324, "large": 1.7e308},
        {"31": 2**31 - 1, "32": 2**31, "63": 2**63 - 1, "-63": -(2**63)},
        {"64": 2**63},
        {"64": 2**64 - 1},
        {"many": -(10**40)},
        {"$set": {"$where": 1}},
        {"deep": [{"$ref": "c", "$id": 1}]},
        {"a.b": {"c.d": 1}},
        {"": {"": 1}},
        {"a\0b": "c\0d"},
        {"_id": "mine", "rev": 1, "v": 99, "body": "x"},
        {"z": 1, "a": 2, "é": "\U0001f600", "text": "\u2028\x7f"},
        {"deep": {"er": {"and": {"deeper": [1, [2, [3]]]}}}},
        {"date": "2026-11-21T15:04:05.123Z", "oid": "507f1f77bcf86cd799439011"},
    ],
)
async def test_metadata_comes_back_as_it_was(store: MessageStore, metadata: dict[str, Any]) -> None:
    written = record(1, metadata=metadata, client_id="k")
    assert await store.write([written]) == []
    entry = await store.get(written.id)
    assert entry is not None
    expect([entry], [written])
    (conversation,) = await store.conversations("alice", before=MAX_ID, limit=1)
    assert value(conversation.last_message) == value(written.body)


@pytest.mark.parametrize(
    "change",
    [
        {"reply_to": "0000000000000001"},
        {"metadata": None},
        {"client_id": None},
        {"content": ""},
        {"content": {"rich": [1, 2.0]}},
        {"channel": "elsewhere"},
        {"created_at": "yesterday"},
        {"type": "other"},
    ],
)
async def test_members_from_another_time_come_back_as_they_were(
    store: MessageStore, change: dict[str, Any]
) -> None:
    body = json.loads(record(1).body) | change
    written = with_body(record(1), json.dumps(body).encode())
    assert await store.write([written]) == []
    expect(await store.user_page("alice", Bounds(1)), [written])


@pytest.mark.parametrize(
    "content", ["\U0001f600 ｡", '"\\\u0001\u001f\r\n\t', "$a.b", " ", "x" * 16_000, "￿é"]
)
async def test_content_comes_back_as_it_was(store: MessageStore, content: str) -> None:
    written = record(1, content)
    await store.write([written])
    expect(await store.channel_page("alice,bob", Bounds(1)), [written])


async def test_a_conversation_at_every_bound(store: MessageStore) -> None:
    users = tuple(sorted(f"{number:03d}" + "\U0001f600" * 125 for number in range(256)))
    written = record(1, "\U00010348" * 16_000, to=users, metadata={"m": "x" * 4080})
    assert await store.write([written]) == []
    expect(await store.channel_page(written.channel, Bounds(1)), [written])
    for user in (users[0], users[-1]):
        expect(await store.user_page(user, Bounds(1)), [written])
        (conversation,) = await store.conversations(user, before=MAX_ID, limit=1)
        assert conversation.participants == users


async def test_ids_at_both_ends_are_taken_as_bounds(store: MessageStore) -> None:
    await store.write(records(2))
    assert len(await store.channel_page("alice,bob", Bounds(5, after=0, before=MAX_ID))) == 2
    assert await store.channel_page("alice,bob", Bounds(5, after=MAX_ID)) == []
    assert await store.channel_page("alice,bob", Bounds(5, before=0)) == []
    assert await store.get(MAX_ID) is None
    assert await store.get(0) is None
