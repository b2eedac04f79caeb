"""Rows of projections are the same in every store, whatever comes in which order and how often."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import STEP
from chatsvc.core.projection import Projection, Projections, Row
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.ports.projections import KeptProjection
from chatsvc.storage.projections.builder import ProjectionBuilder
from testkit.groups import group_change, group_message, joined
from testkit.records import START, change, record
from tests.contract.support import projected
from tests.contract.support.projected import BOTH, SENDERS, THINGS, edit, expected, rows_of
from tests.contract.support.store_places import Open
from tests.unit.support.noted_log import NotedLog


@pytest.fixture
async def store(open_with: Open) -> MessageStore:
    return await open_with(BOTH)


def at(number: int) -> int:
    return START + number * STEP


def mark(position: int) -> Mark:
    return Mark(position, 1, "epoch", None, "", 0)


async def persist(store: MessageStore, *batch: Record) -> None:
    """As the persister does: write, then move the watermark."""
    assert await store.write(batch) == []
    before = await store.watermark()
    if before is None or before.position < batch[-1].id:
        assert await store.set_watermark(before, mark(batch[-1].id))


def builder(store: MessageStore, projections: Projections = BOTH) -> ProjectionBuilder:
    return ProjectionBuilder(store, NotedLog(), projections, pause_seconds=0)


async def one(store: MessageStore, group: str = "a", number: int = 1) -> Row | None:
    """The row, unless it is hidden."""
    found = (await store.projections.get("things", (group, number))).rows
    rows = projected.shown(THINGS, found)
    return rows[0] if rows and rows[0].rev else None


# --- what changes do


async def test_a_row_has_what_was_put_and_the_id_of_the_record(store: MessageStore) -> None:
    values = {"order": "first\0", "blob": "\0bytes", "flag": False, "count": -(1 << 63)}
    await persist(store, edit(1, ["put", ["a", 1], values]))
    unset = {"high": None, "last": None}
    assert await one(store) == Row(("a", 1), at(1), values | {"blob": b"\0bytes"} | unset)
    assert await one(store, "b") is None


async def test_the_newest_put_holds_and_sets_every_column(store: MessageStore) -> None:
    await persist(store, edit(2, ["put", ["a", 1], {"order": "new"}]))
    await persist(store, edit(1, ["put", ["a", 1], {"order": "old", "count": 1}]))
    row = await one(store)
    assert row is not None
    assert (row.rev, row.values["order"], row.values["count"]) == (at(2), "new", None)
    await persist(store, edit(3, ["put", ["a", 1], {"count": 3}]))
    row = await one(store)
    assert row is not None
    assert (row.rev, row.values["order"], row.values["count"]) == (at(3), None, 3)


async def test_a_maximum_never_goes_down(store: MessageStore) -> None:
    for number, value in ((1, 5), (3, 2), (2, 9)):
        await persist(store, edit(number, ["max", ["a", 1], "high", value]))
    row = await one(store)
    assert row is not None
    assert (row.rev, row.values["high"], row.values["last"]) == (at(3), 9, None)


@pytest.mark.parametrize("prefix", [["a", 1], ["a"]])
@pytest.mark.parametrize("removed_first", [True, False])
async def test_what_is_older_than_its_removal_is_removed(
    store: MessageStore, prefix: list[str | int], removed_first: bool
) -> None:
    records = [edit(1, ["put", ["a", 1], {"count": 1}]), edit(2, ["remove", prefix])]
    for each in reversed(records) if removed_first else records:
        await persist(store, each)
    assert await one(store) is None
    await persist(store, edit(3, ["put", ["a", 1], {"count": 3}]))
    row = await one(store)
    assert row is not None
    assert row.rev == at(3)


async def test_a_prefix_removes_no_other_rows(store: MessageStore) -> None:
    groups = ["a", "a\0", "a\1", "a\1\1", "ab", ""]
    await persist(store, edit(1, *(["put", [group, 1], {}] for group in groups)))
    await persist(store, edit(2, ["remove", ["a"]]))
    assert {row.key[0] for row in await rows_of(store)} == {*groups} - {"a"}


async def test_a_removal_hides_a_maximum_and_does_not_lower_it(store: MessageStore) -> None:
    await persist(store, edit(1, ["max", ["a", 1], "high", 9], ["put", ["a", 1], {"count": 1}]))
    await persist(store, edit(2, ["remove", ["a"]]))
    assert await one(store) is None
    await persist(store, edit(3, ["max", ["a", 1], "high", 4]))
    row = await one(store)
    assert row is not None
    assert (row.rev, row.values["high"], row.values["count"]) == (at(3), 9, None)


async def test_what_a_record_puts_stands_against_what_it_removes(store: MessageStore) -> None:
    await persist(store, edit(1, ["put", ["a", 1], {}], ["put", ["a", 2], {}]))
    await persist(store, edit(2, ["put", ["a", 1], {"count": 2}], ["remove", ["a"]]))
    assert [(row.key, row.rev) for row in await rows_of(store)] == [(("a", 1), at(2))]


async def test_records_of_other_kinds_change_nothing(store: MessageStore) -> None:
    await persist(store, record(1), change(2, "reaction"), edit(3))
    assert await rows_of(store) == []
    assert [row.values["newest"] for row in await rows_of(store, SENDERS)] == [at(2)]


async def test_a_rejected_record_changes_nothing(store: MessageStore) -> None:
    await persist(store, edit(1, ["put", ["a", 1], {"order": "mine"}]))
    other = edit(1, ["put", ["a", 1], {"order": "other"}], ["put", ["b", 1], {}])
    (rejected,) = await store.write([other])
    assert rejected.code == "digest_conflict"
    assert [row.values["order"] for row in await rows_of(store)] == ["mine"]


@pytest.mark.parametrize(
    "op",
    [
        ["put", ["a"], {}],
        ["put", ["a", "1"], {}],
        ["put", ["a", True], {}],
        ["put", ["a", 1], {"none": 1}],
        ["put", ["a", 1], {"high": 1}],
        ["put", ["a", 1], {"count": 1 << 63}],
        ["max", ["a", 1], "count", 1],
        ["max", ["a", 1], "high", "1"],
        ["remove", []],
        ["remove", ["a", 1, 1]],
    ],
)
async def test_a_record_that_a_projection_cannot_fold_is_rejected(
    store: MessageStore, op: projected.Op
) -> None:
    batch = [edit(1, ["put", ["a", 1], {}]), edit(2, op), edit(3, ["put", ["a", 3], {}])]
    (rejected,) = await store.write(batch)
    assert (rejected.record, rejected.code) == (batch[1], "fold_failed")
    assert [row.key for row in await rows_of(store)] == [("a", 1), ("a", 3)]
    assert await store.get_record(at(2)) is None
    assert [one.code for one in await store.write([edit(4), edit(5, op)])] == ["fold_failed"]
    assert await store.projections.position("things") == at(5)


# --- reading


async def test_pages_are_by_prefix_in_the_order_of_keys(store: MessageStore) -> None:
    keys = [(group, n) for group in ("", "a", "a\0", "b", "é", "🙂") for n in (-300, -2, 5, 40)]
    puts = [["put", list(key), {}] for key in keys]
    random.Random(1).shuffle(puts)
    await persist(store, edit(1, *puts))

    async def page(prefix: tuple[str, ...], after: tuple[str, int] | None, limit: int) -> object:
        found = await store.projections.page("things", prefix, after, limit)
        return [key for key, _ in found.rows]

    assert await page((), None, 99) == keys
    assert await page((), None, 5) == keys[:5]
    assert await page((), keys[4], 5) == keys[5:10]
    assert await page(("a",), None, 99) == keys[4:8]
    assert await page(("a",), ("a", -2), 1) == [("a", 5)]
    assert await page(("a",), ("a", 3), 9) == [("a", 5), ("a", 40)]
    assert await page(("a",), ("a", 40), 9) == []
    assert await page(("c",), None, 9) == []


# --- any order, any repetition, any batches


async def until_stored(store: MessageStore, records: list[Record]) -> list[Rejection]:
    """Write as a persister does: again, where another writer was in between."""
    while True:
        with suppress(StoreUnavailable):
            return await store.write(records)


@pytest.mark.parametrize("seed", range(8))
async def test_rows_are_those_of_one_plain_fold(open_with: Open, seed: int) -> None:
    """Two stores over the same data write the same records, in orders and parts of their own."""
    dice = random.Random(seed)
    records = [projected.any_edit(number, dice) for number in range(1, 40)]

    async def write(store: MessageStore, dice: random.Random) -> None:
        parts = [records[at : at + 5] for at in range(0, len(records), 5)]
        parts += [sorted(dice.sample(records, 4), key=lambda one: one.id) for _ in range(4)]
        dice.shuffle(parts)
        for part in parts:
            assert await until_stored(store, part) == []

    stores = [await open_with(BOTH) for _ in range(2)]
    await asyncio.gather(
        *(write(store, random.Random(seed + n)) for n, store in enumerate(stores, 1))
    )
    for store in stores:
        assert await rows_of(store) == expected(THINGS, records)


@pytest.mark.parametrize("seed", range(4))
async def test_rows_that_are_built_anew_are_equal(open_with: Open, seed: int) -> None:
    dice = random.Random(seed)
    records = [projected.any_edit(number, dice) for number in range(1, 60)]
    first = await open_with(BOTH)
    for at_once in range(0, 40, 4):
        await persist(first, *records[at_once : at_once + 4])
    before = await rows_of(first)
    await first.projections.begin_anew("things")
    assert await rows_of(first) == []
    assert await first.projections.position("things") == 0
    built = builder(first)
    await asyncio.gather(built.build(), persist(first, *records[40:]))
    await built.build()
    assert before == expected(THINGS, records[:40])
    assert await rows_of(first) == expected(THINGS, records)
    assert await first.projections.position("things") == records[-1].id


# --- positions


async def test_a_position_moves_with_each_write(store: MessageStore) -> None:
    assert await store.projections.position("things") == 0
    await persist(store, record(1), record(2))
    assert await store.projections.position("things") == at(2)
    await store.write([edit(3)])
    await store.write([edit(2)])
    assert await store.projections.position("things") == at(3), "it never goes back"
    found = await store.projections.get("things", ("a", 1))
    assert (found.position, found.rows) == (at(3), [])


async def test_a_new_projection_is_built_in_parts_while_records_come(
    open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.storage.projections.builder.STEP_RECORDS", 3)
    before = await open_with(Projections())
    records = [edit(n, ["put", ["a", n % 4], {"count": n}]) for n in range(1, 21)]
    await persist(before, *records[:10])
    store = await open_with(BOTH)
    assert await store.projections.position("things") == 0
    built = builder(store)
    assert await built.step("things")
    assert await store.projections.position("things") == at(3)
    await persist(store, *records[10:15])
    assert await store.projections.position("things") == at(3), "what is between is not folded"
    again = builder(await open_with(BOTH))  # as after a kill: it goes on where it was
    while await again.step("things"):
        pass
    assert await store.projections.position("things") == at(15)
    await persist(store, *records[15:])
    assert await store.projections.position("things") == at(20)
    assert await rows_of(store) == expected(THINGS, records)


async def test_what_is_stored_between_two_parts_is_not_folded_again_at_the_end(
    open_with: Open,
) -> None:
    """Under load the watermark is always one batch ahead of what was looked at."""
    before = await open_with(Projections())
    await persist(before, edit(1))
    store = await open_with(BOTH)
    await store.write([edit(2)])
    assert await builder(store).step("things")
    assert await store.projections.position("things") == at(1)
    assert await store.set_watermark(mark(at(1)), mark(at(2)))
    await store.write([edit(3)])
    assert await store.projections.position("things") == at(3)


async def test_what_a_program_without_it_stored_is_folded_afterwards(open_with: Open) -> None:
    store = await open_with(BOTH)
    await persist(store, edit(1, ["put", ["a", 1], {}]))
    await persist(await open_with(Projections()), edit(2, ["put", ["a", 2], {}]))
    store = await open_with(BOTH)
    await persist(store, edit(3, ["put", ["a", 3], {}]))
    assert await store.projections.position("things") == at(1)
    await builder(store).build()
    assert await store.projections.position("things") == at(3)
    assert [row.key[1] for row in await rows_of(store)] == [1, 2, 3]


async def test_what_there_is_of_projections_is_told_to_a_program_without_them(
    open_with: Open,
) -> None:
    none = await open_with(Projections())
    assert await none.projections.kept() == {}
    await persist(await open_with(BOTH), edit(1))
    await open_with(Projections([projected.one_version(2)]))
    assert await none.projections.kept() == {
        "things": KeptProjection(projected.one_version(2).declared, 0),
        "senders": KeptProjection(SENDERS.declared, at(1)),
    }


async def test_another_version_is_built_anew(open_with: Open) -> None:
    store = await open_with(BOTH)
    await persist(store, edit(1, ["put", ["a", 1], {}]))
    second = Projections([projected.one_version(2), SENDERS])
    store = await open_with(second)
    assert await store.projections.position("things") == 0
    assert await store.projections.position("senders") == at(1)
    await builder(store, second).build()
    assert [row.rev for row in await rows_of(store)] == [at(1)]


async def test_messages_are_folded_from_the_store_as_they_came(open_with: Open) -> None:
    def fold(record: Record) -> list[object]:
        seen.append(record)
        return []

    seen: list[Record] = []
    everything = Projection(
        name="all",
        version=1,
        kinds=("message", "edit", "read"),
        key=projected.THINGS.key,
        fold=fold,  # type: ignore[arg-type]
    )
    crowd = tuple(f"user{n}" for n in range(9))
    batch = [
        record(1, client_id="k1"),
        record(2, to=crowd),
        change(3, "read", to=crowd, target="user1", client_id="k3"),
        change(4),
        joined(5, "alice", "bob"),
        group_message(6),
        group_change(7, to=("alice", "carol")),
        group_message(8, to=("bob",)),
    ]
    store = await open_with(Projections([everything]))
    await persist(store, *batch)
    live = list(seen)
    seen.clear()
    await store.projections.begin_anew("all")
    await builder(store, Projections([everything])).build()
    assert [one.body for one in live] == [one.body for one in batch]
    projected.same_records(seen, live)
    assert [one.state for one in (*seen, *live)] == [None] * 16, "no store keeps it with a record"


# --- removals that are forgotten


async def test_removals_are_forgotten_below_an_id(store: MessageStore) -> None:
    await persist(store, edit(1, ["max", ["a", 1], "high", 9]), edit(2, ["put", ["b", 1], {}]))
    await persist(store, edit(3, ["remove", ["a"]]), edit(4, ["remove", ["b", 1]]))
    before = await rows_of(store)
    assert await store.projections.purge(at(3), 9) == 0
    assert await store.projections.purge(at(9), 1) == 1
    assert await store.projections.purge(at(9), 9) == 1
    assert await store.projections.purge(at(9), 9) == 0
    assert await rows_of(store) == before
    await persist(store, edit(5, ["max", ["a", 1], "high", 4]))
    row = await one(store)
    assert row is not None
    assert row.values["high"] == 9


async def test_nothing_is_forgotten_while_a_projection_is_built(store: MessageStore) -> None:
    await persist(store, edit(1, ["put", ["a", 1], {}]), edit(2, ["remove", ["a"]]))
    await store.projections.begin_anew("things")
    await store.write([edit(2, ["remove", ["a"]])])
    assert await store.projections.purge(at(9), 9) == 0
    await builder(store).build()
    assert await rows_of(store) == []
    assert await store.projections.purge(at(9), 9) == 1
