"""Batches are written: what is taken, what is refused, what changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, other_kind, record, records, with_body
from tests.contract.support.store_places import Place
from tests.contract.support.stored import expect


@pytest.mark.parametrize(
    "other",
    [
        {"to": ("carol", "dave")},
        {"sender": "bob"},
        {"client_id": "another"},
        {"client_id": None},
    ],
    ids=["conversation", "sender", "client_id", "no_client_id"],
)
async def test_an_equal_content_under_an_id_is_another_message_where_its_key_differs(
    store: MessageStore, other: dict[str, Any]
) -> None:
    held = record(2, "ok", client_id="k")
    await store.write([held])
    false = record(2, "ok", **{"client_id": "k", **other})
    assert false.digest == held.digest
    rejections = await store.write([record(1), false, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(false, "digest_conflict")]
    expect(await store.channel_page("alice,bob", Bounds(10)), [record(1), held, record(3)])
    assert await store.channel_page("carol,dave", Bounds(10)) == []
    assert await store.conversations("carol", before=MAX_ID, limit=10) == []


async def test_an_equal_content_under_an_id_of_one_batch_is_another_message(
    store: MessageStore,
) -> None:
    first, second = record(2, "ok"), record(2, "ok", to=("carol", "dave"))
    rejections = await store.write([first, second])
    assert [(one.record, one.code) for one in rejections] == [(second, "digest_conflict")]
    assert await store.channel_page("carol,dave", Bounds(10)) == []


async def test_an_empty_batch_is_nothing(store: MessageStore) -> None:
    assert await store.write([]) == []
    assert await store.head() == 0


async def test_head_is_the_highest_written(store: MessageStore) -> None:
    await store.write(records(5))
    await store.write(records(2, first=3))
    assert await store.head() == START + 5 * STEP


async def test_a_large_batch_goes_in_whole(store: MessageStore) -> None:
    batch = [
        record(number, to=(f"user{number % 7}", f"user{number % 11}", "zoe"))
        for number in range(1, 1501)
    ]
    assert await store.write(batch) == []
    assert await store.count_user("zoe", Bounds(5000)) == 1500
    assert len(await store.user_page("zoe", Bounds(5000))) == 1500


async def test_writing_again_changes_nothing(store: MessageStore) -> None:
    batch = records(4)
    assert await store.write(batch) == []
    assert await store.write(batch[1:3]) == []
    assert await store.write([*batch[2:], record(5)]) == []
    expect(await store.channel_page("alice,bob", Bounds(10)), [*batch, record(5)])


async def test_another_content_under_an_id_is_refused_and_the_rest_goes_in(
    store: MessageStore,
) -> None:
    await store.write([record(2)])
    false = record(2, "something else")
    rejections = await store.write([record(1), false, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(false, "digest_conflict")]
    expect(await store.channel_page("alice,bob", Bounds(10)), records(3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b'["an", "array"]',
        b'{"type":"message"}',
        b'{"participants":"alice"}',
        b'{"participants":[1]}',
        b'{"participants":["alice","bob"],"content":"\xff"}',
    ],
)
async def test_an_unreadable_body_is_refused_and_the_rest_goes_in(
    store: MessageStore, body: bytes
) -> None:
    broken = with_body(record(2), body)
    rejections = await store.write([record(1), broken, record(3)])
    assert [(one.record, one.code) for one in rejections] == [(broken, "unreadable_body")]
    expect(await store.channel_page("alice,bob", Bounds(10)), [record(1), record(3)])


async def test_a_kind_that_it_does_not_know_is_refused(store: MessageStore) -> None:
    strange = other_kind(1, "vote")
    rejections = await store.write([strange])
    assert [(one.record, one.code) for one in rejections] == [(strange, "unknown_kind")]
    assert await store.head() == 0


async def test_a_refused_batch_leaves_no_conversation(store: MessageStore) -> None:
    await store.write([with_body(record(1), b"{}")])
    assert await store.conversations("alice", before=MAX_ID, limit=10) == []


async def test_two_writers_of_the_same_batch_do_no_harm(place: Place) -> None:
    stores = [place.make() for _ in range(2)]
    for store in stores:
        await store.open()
    batch = [record(number, to=("alice", f"user{number % 9}")) for number in range(1, 60)]
    results = await asyncio.gather(*(store.write(batch) for store in stores))
    assert results == [[], []]
    expect(await stores[0].user_page("alice", Bounds(100)), batch)
    newest = await stores[1].conversations("alice", before=MAX_ID, limit=100)
    assert [one.last_id for one in newest] == [one.id for one in reversed(batch[-9:])]
    for store in stores:
        await store.close()
