"""Rows of projections in MongoDB: cut off between any two calls, refused, and written by two."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.projection import Projections
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.connection import MongoConnection
from chatsvc.storage.mongo.store import MongoStore
from chatsvc.storage.projections.builder import ProjectionBuilder
from testkit.records import KINDS
from tests.contract.support.mongo_killing import Killed, Killer
from tests.contract.support.projected import (
    BOTH,
    THINGS,
    any_edit,
    edit,
    expected,
    one_version,
    rows_of,
)
from tests.contract.support.store_places import MongoPlace
from tests.unit.support.noted_log import NotedLog

T = TypeVar("T")
Database = Any


@pytest.fixture
async def stores(mongo_uri: str, mongo_db: str) -> AsyncIterator[list[MongoStore]]:
    """Two over the same data, as two processes have them."""
    made = [
        MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS, projections=BOTH) for _ in range(2)
    ]
    for store in made:
        await store.open()
    yield made
    for store in made:
        await store.close()


@pytest.fixture
def store(stores: list[MongoStore]) -> MongoStore:
    return stores[0]


def mark(number: int) -> Mark:
    return Mark(edit(number).id, 1, "epoch", None, "", 0)


def batches(seed: int, count: int) -> list[list[Record]]:
    dice = random.Random(seed)
    return [
        [any_edit(10 * first + n, dice) for n in range(dice.randrange(1, 6))]
        for first in range(1, count + 1)
    ]


async def test_cut_off_anywhere_and_done_again(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = Killer(monkeypatch)
    written: list[Record] = []
    for batch in batches(1, 6):
        calls = 0
        while True:
            killer.left = calls
            try:
                await store.write(batch)
                break
            except Killed:
                calls += 1
            finally:
                killer.left = -1
        assert calls > 5, "it was cut off between all of them"
        written += batch
        assert await rows_of(store) == expected(THINGS, written)


@pytest.mark.parametrize(
    "failure",
    [
        {"errorCode": 10107},
        {"closeConnection": True},
        {"writeConcernError": {"code": 64, "errmsg": "late"}},
    ],
)
async def test_any_call_of_a_bulk_may_fail(
    store: MongoStore, other: Database, failure: dict[str, Any]
) -> None:
    """Some of its updates may have been made by then."""
    written: list[Record] = []
    for batch in batches(2, 4):
        for skipped in range(8):
            other.client.admin.command(
                "configureFailPoint",
                "failCommand",
                mode={"times": 1 + skipped % 3},
                data={"failCommands": ["update", "delete"][skipped % 2 :], **failure},
            )
            try:
                await store.write(batch[: len(batch) - skipped % 2] or batch)
            except StoreUnavailable:
                continue
            finally:
                other.client.admin.command("configureFailPoint", "failCommand", mode="off")
        await store.write(batch)
        written += batch
        assert await rows_of(store) == expected(THINGS, written)


@pytest.mark.parametrize("seed", range(12))
async def test_two_writers_whose_calls_are_interleaved(
    stores: list[MongoStore], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """One of them removes what the other, who has not seen it, puts."""
    dice = random.Random(seed)
    turn = asyncio.Lock()
    attempt_one = MongoConnection.attempt

    async def attempt(connection: MongoConnection, call: Callable[[], Awaitable[T]]) -> T:
        for _ in range(dice.randrange(6)):
            await asyncio.sleep(0)
        async with turn:
            return await attempt_one(connection, call)

    monkeypatch.setattr(MongoConnection, "attempt", attempt)
    puts = [edit(1, ["put", ["a", 0], {"count": 1}], ["max", ["a", 1], "high", 5])]
    removals = [edit(2, ["remove", ["a"]])]
    later = [edit(3, ["put", ["a", 1], {"count": 3}])]
    first, second = stores
    await asyncio.gather(first.write(puts), second.write(removals))
    assert await rows_of(first) == expected(THINGS, [*puts, *removals])
    await asyncio.gather(first.write(later), second.write([*puts, *removals]), first.write(puts))
    assert await rows_of(first) == expected(THINGS, [*puts, *removals, *later])


async def test_the_other_sees_a_removal_that_comes_between_its_look_and_its_write(
    stores: list[MongoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stores
    rows = first._projection_writes._rows("things", 1)
    monkeypatch.setattr(first._projection_writes, "_rows", lambda *_: rows)
    join = rows._join

    async def late(states: Any) -> None:
        await second.write([edit(2, ["remove", ["a"]])])
        await join(states)

    monkeypatch.setattr(rows, "_join", late)
    await first.write([edit(1, ["put", ["a", 1], {}])])
    assert await rows_of(first) == []


async def test_a_row_that_is_removed_between_two_updates_is_written_again(
    stores: list[MongoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is refused, and right when it is done again."""
    first, second = stores
    await second.write([edit(3, ["put", ["a", 1], {}])])
    rows = first._projection_writes._rows("things", 1)
    monkeypatch.setattr(first._projection_writes, "_rows", lambda *_: rows)
    batch = [edit(1, ["put", ["a", 1], {}]), edit(5, ["max", ["a", 1], "high", 1])]
    removal = edit(4, ["remove", ["a"]])
    write = rows._connection.write
    left = [True]

    async def late(call: Callable[[], Awaitable[T]]) -> T:
        if "_join" in call.__qualname__ and left:
            left.clear()
            await second.write([removal])
        return await write(call)

    monkeypatch.setattr(rows._connection, "write", late)
    with pytest.raises(StoreUnavailable):
        await first.write(batch)
    await first.write(batch)
    assert await rows_of(first) == expected(
        THINGS, [*batch, removal, edit(3, ["put", ["a", 1], {}])]
    )


async def test_rows_of_a_past_that_a_dump_ended_are_passed_over(
    mongo_uri: str, mongo_db: str, other: Database
) -> None:
    """A restore drops the collections that are in the dump, and leaves those made since."""
    place = MongoPlace(mongo_uri, mongo_db)
    newer = Projections([one_version(2)])
    for projections in (Projections([THINGS]), newer):
        store = place.make(projections)
        await store.open()
        await store.write([edit(1, ["put", ["a", 1], {}])])
        await store.close()
    then = {"declared": THINGS.declared, "generation": 1, "before": 0, "position": 0}
    other.messages_meta.update_one({"_id": "projection:things"}, {"$set": then})
    store = place.make(newer)
    await store.open()
    assert await rows_of(store) == []
    await store.write([edit(2, ["put", ["a", 2], {}])])
    assert [row.key for row in await rows_of(store)] == [("a", 2)]
    await store.close()


async def test_rows_are_begun_anew_once_by_two(stores: list[MongoStore], other: Database) -> None:
    first, second = stores
    await first.write([edit(1, ["put", ["a", 1], {}])])
    await first.set_watermark(None, mark(1))
    await asyncio.gather(*(one.projections.begin_anew("things") for one in stores))
    await second.projections.begin_anew("things")
    found = other.messages_meta.find_one({"_id": "projection:things"})
    assert (found["generation"], found["position"]) in {(3, 0), (4, 0)}
    await second.write([edit(2, ["put", ["a", 2], {}])])
    assert [row.key for row in await rows_of(first)] == [("a", 2)]
    await first.set_watermark(mark(1), mark(2))
    await ProjectionBuilder(first, NotedLog(), BOTH, pause_seconds=0).build()
    assert [row.key for row in await rows_of(second)] == [("a", 1), ("a", 2)]
    await first.projections.purge(0, 1)
    left = [name for name in other.list_collection_names() if "projection_things" in name]
    generation = f"messages_projection_things_{found['generation']}"
    assert set(left) <= {generation, f"{generation}_removals"}


async def test_rows_can_be_queried_by_their_columns(store: MongoStore, other: Database) -> None:
    await store.write([edit(1, ["put", ["a", 1], {"order": "x", "blob": "b", "flag": True}])])
    found = other.messages_projection_things_1.find_one({"order": "x"})
    del found["_id"]
    assert found == {
        "group": "a", "number": 1, "order": "x", "blob": b"b", "flag": True, "count": None,
        "rev": edit(1).id, "put_rev": edit(1).id,
    }  # fmt: skip
    indexes = other.messages_projection_things_1.index_information()
    assert {"order", "flag,rev"} <= set(indexes)
