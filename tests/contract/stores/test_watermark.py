"""The store's name and its watermark."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.message_store import MessageStore
from testkit.records import START, records
from tests.contract.support.store_places import Place
from tests.contract.support.stored import expect


async def test_identity_is_the_stores_own_and_stays(store: MessageStore, place: Place) -> None:
    again = place.make()
    await again.open()
    assert len(await store.identity()) >= 16
    assert await again.identity() == await store.identity()
    await again.close()


async def test_opened_at_once_by_several_it_has_one_identity(place: Place) -> None:
    stores = [place.make() for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len({await store.identity() for store in stores}) == 1
    await asyncio.gather(*(store.close() for store in stores))


async def test_the_watermark_is_set_from_what_it_was(store: MessageStore, place: Place) -> None:
    first, second = Mark(START, 1, "a"), Mark(START + STEP, 1, "a")
    assert await store.watermark() is None
    assert not await store.set_watermark(first, second)
    assert await store.watermark() is None
    assert await store.set_watermark(None, first)
    assert not await store.set_watermark(None, second)
    assert await store.watermark() == first
    assert await store.set_watermark(first, second)
    assert not await store.set_watermark(first, second)
    for other in (
        Mark(START + STEP, 2, "a"),
        Mark(START + STEP, 1, "b"),
        Mark(START + STEP, 1, "a", (1, 2)),
        Mark(START + STEP, 1, "a", content="ab"),
        Mark(START + STEP, 1, "a", window_start=1),
        first,
    ):
        assert not await store.set_watermark(other, first)
    await store.close()
    again = place.make()
    await again.open()
    assert await again.watermark() == second
    later = Mark(1, 12, "later", (START, START + STEP), "00ff", START)
    assert await again.set_watermark(second, later)
    assert await again.watermark() == later
    assert await again.set_watermark(later, second)
    await again.close()


async def test_of_several_who_set_the_watermark_at_once_one_succeeds(store: MessageStore) -> None:
    for before in (None, Mark(7, 1, "a")):
        marks = [Mark(START + at, 1, "a") for at in range(8)]
        done = await asyncio.gather(*(store.set_watermark(before, one) for one in marks))
        assert sum(done) == 1
        found = await store.watermark()
        assert found == marks[done.index(True)]
        assert await store.set_watermark(found, Mark(7, 1, "a"))


async def test_the_watermark_is_no_message(store: MessageStore) -> None:
    await store.set_watermark(None, Mark(START, 1, "a"))
    assert await store.head() == 0
    assert await store.purge(MAX_ID) == 0
    assert await store.watermark() == Mark(START, 1, "a")


async def test_a_store_that_is_put_in_its_place_has_another_name(
    store: MessageStore, place: Place
) -> None:
    """While it is open; it is opened again then."""
    before = await store.identity()
    await store.write(records(2))
    await store.set_watermark(None, Mark(START, 1, "a"))
    await place.replace()
    with pytest.raises(StoreUnavailable):
        await store.identity()
    await store.open()
    assert await store.identity() != before
    assert await store.watermark() is None
    assert await store.head() == 0
    await store.write(records(3))
    expect(await store.channel_page("alice,bob", Bounds(10)), records(3))
