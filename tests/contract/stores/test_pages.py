"""Messages are found, in pages that are the range asked for."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import STEP
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, record, records
from tests.contract.support.stored import ids


@pytest.mark.parametrize("newest", [True, False])
@pytest.mark.parametrize("after", [0, 3, 8])
@pytest.mark.parametrize("before", [1, 4, 7, 99])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_are_the_stretch_asked_for(
    store: MessageStore, newest: bool, after: int, before: int, limit: int
) -> None:
    # Odd numbers are ours, even ones another conversation's.
    await store.write(
        [record(n, to=("alice", "bob") if n % 2 else ("alice", "carol")) for n in range(1, 10)]
    )
    bounds = Bounds(limit, START + after * STEP, START + before * STEP, newest)

    def stretch(numbers: list[int]) -> list[int]:
        inside = [START + n * STEP for n in numbers if after < n < before]
        return inside[-limit:] if newest else inside[:limit]

    assert ids(await store.channel_page("alice,bob", bounds)) == stretch([1, 3, 5, 7, 9])
    assert ids(await store.user_page("alice", bounds)) == stretch(list(range(1, 10)))
    assert ids(await store.user_page("carol", bounds)) == stretch([2, 4, 6, 8])
    assert await store.count_user("carol", bounds) == len(stretch([2, 4, 6, 8]))


async def test_a_user_or_channel_is_never_taken_for_another(store: MessageStore) -> None:
    names = ["a", "A", "a ", "á", "a%", "a_", "$a", "a.b", "null", "0"]
    await store.write([record(n, to=(name.strip() + "x", "z")) for n, name in enumerate(names, 1)])
    for name in names:
        user = name.strip() + "x"
        expected = [n for n, other in enumerate(names, 1) if other.strip() + "x" == user]
        found = ids(await store.user_page(user, Bounds(20)))
        assert found == [START + n * STEP for n in expected], name


@pytest.mark.parametrize("newest", [True, False])
async def test_a_page_ends_with_the_message_that_passes_its_bytes(
    store: MessageStore, newest: bool
) -> None:
    # More than MongoDB sends in one batch, and the large one behind it.
    await store.write([record(n, "x" * (4000 if n == 130 else 40)) for n in range(1, 261)])
    entries = await store.channel_page("alice,bob", Bounds(1000, newest=newest))
    assert len(entries) == 260
    size = {entry.id: len(entry.body) for entry in entries}
    expected = ids(entries)[::-1] if newest else ids(entries)

    def taken(max_bytes: int, limit: int = 1000) -> list[int]:
        found: list[int] = []
        for one in expected[:limit]:
            found.append(one)
            if sum(size[each] for each in found) > max_bytes and len(found) > 1:
                break
        return sorted(found)

    for max_bytes in (0, size[expected[0]], 10_000, sum(size.values()) - 1, 1 << 40):
        bounds = Bounds(1000, newest=newest, max_bytes=max_bytes)
        assert ids(await store.channel_page("alice,bob", bounds)) == taken(max_bytes)
        assert ids(await store.user_page("bob", bounds)) == taken(max_bytes)
        assert await store.count_user("bob", bounds) == 260
    bounds = Bounds(3, newest=newest, max_bytes=1 << 40)
    assert ids(await store.channel_page("alice,bob", bounds)) == taken(1 << 40, 3)


async def test_a_page_is_a_mebibyte_unless_told_otherwise(store: MessageStore) -> None:
    await store.write(records(20, content="x" * 100_000))
    found = await store.channel_page("alice,bob", Bounds(1000))
    assert sum(len(entry.body) for entry in found[1:]) <= MAX_PAGE_BYTES
    assert sum(len(entry.body) for entry in found) > MAX_PAGE_BYTES


async def test_readers_meanwhile_see_a_prefix_without_holes(store: MessageStore) -> None:
    written: list[int] = []
    finished = False

    async def write() -> None:
        nonlocal finished
        for first in range(1, 200, 20):
            batch = records(20, first=first)
            await store.write(batch)
            written.extend(one.id for one in batch)
        finished = True

    async def read() -> None:
        while not finished:
            promised = list(written)
            found = ids(await store.channel_page("alice,bob", Bounds(1000)))
            assert found[: len(promised)] == promised
            assert found == sorted(found)

    await asyncio.gather(write(), read(), read())
    assert len(await store.channel_page("alice,bob", Bounds(1000))) == 200


async def test_a_count_up_to_none_is_none(store: MessageStore) -> None:
    await store.write(records(2))
    assert [await store.count_user("bob", Bounds(limit)) for limit in (0, 1, 2, 3)] == [0, 1, 2, 2]
