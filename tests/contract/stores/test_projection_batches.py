"""Positions of projections where batches do not follow one another as they mostly do."""

from __future__ import annotations

import msgspec

from chatsvc.core.projection import Projections
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.projections.builder import ProjectionBuilder
from chatsvc.storage.projections.folding import fold
from testkit.records import record
from tests.contract.support.projected import BOTH, edit, rows_of
from tests.contract.support.store_places import Open
from tests.unit.support.noted_log import NotedLog


async def move(store: MessageStore, position: int) -> None:
    mark = Mark(position, 1, "epoch", None, "", 0)
    assert await store.set_watermark(await store.watermark(), mark)


async def test_a_record_above_63_bits_is_not_folded_and_stops_nothing(open_with: Open) -> None:
    store = await open_with(BOTH)
    highest = (1 << 63) - 1
    batch = [edit(1), msgspec.structs.replace(record(1), id=highest + 65)]
    (rejected,) = await store.write(batch)
    assert rejected.record is batch[1]
    await move(store, batch[1].id)
    await ProjectionBuilder(store, NotedLog(), BOTH, pause_seconds=0).build()
    assert await store.projections.position("things") == highest


async def test_a_batch_of_which_nothing_is_stored_moves_positions(open_with: Open) -> None:
    store = await open_with(BOTH)
    await store.write([edit(1)])
    await move(store, edit(1).id)
    (rejected,) = await store.write([edit(2, ["put", [], {}])])
    assert rejected.code == "fold_failed"
    assert await store.projections.position("things") == edit(2).id
    await move(store, edit(2).id)
    await store.write([edit(3)])
    assert await store.projections.position("things") == edit(3).id


async def test_what_a_program_without_a_watermark_stored_is_folded(open_with: Open) -> None:
    """As versions before watermarks did: the log has trimmed it, and only the store has it."""
    before = await open_with(Projections())
    await before.write([edit(n, ["put", ["a", n], {}]) for n in (1, 2)])
    store = await open_with(BOTH)
    await store.write([edit(3, ["put", ["a", 3], {}])])
    assert await store.projections.position("things") == 0
    await move(store, edit(3).id)
    await ProjectionBuilder(store, NotedLog(), BOTH, pause_seconds=0).build()
    assert await store.projections.position("things") == edit(3).id
    assert [row.key[1] for row in await rows_of(store)] == [1, 2, 3]


async def test_what_a_store_has_above_its_watermark_is_folded(open_with: Open) -> None:
    """As in a dump whose collections are not of one moment, where the log has trimmed it."""
    store = await open_with(BOTH)
    await store.write([edit(1)])
    await move(store, edit(1).id)
    await (await open_with(Projections())).write([edit(2, ["put", ["a", 2], {}])])
    store = await open_with(BOTH)
    await store.write([edit(3, ["put", ["a", 3], {}])])
    await move(store, edit(3).id)
    await ProjectionBuilder(store, NotedLog(), BOTH, pause_seconds=0).build()
    assert [row.key[1] for row in await rows_of(store)] == [2, 3]


async def test_rows_that_another_process_began_anew_are_built_whole(open_with: Open) -> None:
    """The one that writes has folded everything, from the first record on, and is not told."""
    service, other = await open_with(BOTH), await open_with(BOTH)
    for number in (1, 2):
        await service.write([edit(number, ["put", ["a", number], {}])])
        await move(service, edit(number).id)
    await other.projections.begin_anew("things")
    await service.write([edit(3, ["put", ["a", 3], {}])])
    await move(service, edit(3).id)
    assert await service.projections.position("things") == 0
    assert await service.projections.position("senders") == edit(3).id
    await ProjectionBuilder(service, NotedLog(), BOTH, pause_seconds=0).build()
    assert await service.projections.position("things") == edit(3).id
    assert [row.key[1] for row in await rows_of(service)] == [1, 2, 3]


async def test_a_part_of_rows_that_another_process_drops_meanwhile_moves_no_position(
    open_with: Open,
) -> None:
    """The builder has read its part, from the beginning or from further on."""
    service, other = await open_with(BOTH), await open_with(BOTH)
    for number in (1, 2):
        await service.write([edit(number, ["put", ["a", number], {}])])
        await move(service, edit(number).id)
    await other.projections.begin_anew("things")
    changes = fold(BOTH["things"], await service.scan(edit(1).id, edit(2).id, 9, 1 << 20))
    await service.projections.catch_up("things", changes, edit(1).id, edit(2).id)
    assert await service.projections.position("things") == 0
    await service.write([edit(3, ["put", ["a", 3], {}])])
    await move(service, edit(3).id)
    await ProjectionBuilder(service, NotedLog(), BOTH, pause_seconds=0).build()
    assert [row.key[1] for row in await rows_of(service)] == [1, 2, 3]
