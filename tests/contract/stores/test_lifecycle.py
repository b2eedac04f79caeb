"""A store is opened, tells its version, and is closed."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, records
from tests.contract.support.store_places import Place
from tests.contract.support.stored import expect


async def test_a_fresh_store_is_empty(store: MessageStore) -> None:
    assert await store.head() == 0
    assert await store.channel_page("alice,bob", Bounds(10)) == []
    assert await store.user_page("alice", Bounds(10)) == []
    assert await store.conversations("alice", before=MAX_ID, limit=10) == []
    assert await store.count_user("alice", Bounds(10)) == 0
    assert await store.get(START) is None
    assert await store.purge(MAX_ID) == 0
    await store.ping()


async def test_opening_and_closing_twice_is_harmless(store: MessageStore) -> None:
    await store.open()
    await store.write(records(2))
    assert await store.head() == START + 2 * STEP
    await store.close()
    await store.close()


async def test_what_was_written_outlives_the_store(store: MessageStore, place: Place) -> None:
    await store.write(records(3))
    await store.close()
    again = place.make()
    await again.open()
    expect(await again.channel_page("alice,bob", Bounds(10)), records(3))
    await again.close()


async def test_unopened_and_closed_stores_say_so(place: Place) -> None:
    store = place.make()
    with pytest.raises(StoreUnavailable):
        await store.write(records(1))
    with pytest.raises(StoreUnavailable):
        await store.channel_page("alice,bob", Bounds(10))
    await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.write(records(1))
    with pytest.raises(StoreUnavailable):
        await store.get(START)


async def test_versions_are_told_without_changing_anything(place: Place) -> None:
    store = place.make()
    assert (await store.versions()).found == 0
    assert (await store.versions()).found == 0
    await store.open()
    versions = await store.versions()
    assert versions.found == versions.current > 0
    await store.close()


async def test_a_newer_version_is_not_touched(place: Place) -> None:
    store = place.make()
    await store.open()
    await store.write(records(1))
    newer = (await store.versions()).current + 1
    await store.close()
    await place.set_version(newer)
    again = place.make()
    with pytest.raises(VersionTooNew):
        await again.open()
    with pytest.raises(StoreUnavailable):
        await again.write(records(1, first=2))
    assert (await again.versions()).found == newer
    await again.close()
