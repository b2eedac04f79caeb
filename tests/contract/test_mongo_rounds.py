"""Pages of users with many large sets: merged from several queries, and no more than are needed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from chatsvc.core.ids import MAX_ID, STEP
from chatsvc.core.page import Bounds, body_bytes
from chatsvc.core.record import Record
from chatsvc.storage.mongo import conversations, entries, large_sets
from chatsvc.storage.mongo.own_documents import OwnDocuments
from chatsvc.storage.mongo.store import MongoStore
from testkit.memory_store import MemoryDisk, MemoryStore
from testkit.records import KINDS, START, change, record
from tests.contract.support.stored import any_bounds, expect_same_pages, ids

SETS: list[tuple[str, ...]] = [
    *(("alice", *(f"u{first}{n}" for n in range(5))) for first in range(7)),
    *(("alice", f"v{n}") for n in range(3)),
    ("alice",),
    ("bob", *(f"w{n}" for n in range(6))),
]
"""Seven large sets and four small ones of alice, and one that is not hers."""


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "RANGES", 2)
    monkeypatch.setattr(conversations, "_DOCUMENTS_AT_ONCE", 2)
    monkeypatch.setattr(large_sets, "AT_ONCE", 3)


def any_record(number: int, chosen: random.Random) -> Record:
    to = chosen.choice(SETS)
    text = "x" * chosen.choice((1, 1, 1, 300))
    if chosen.random() < 0.5:
        return record(number, text, to=to)
    if chosen.random() < 0.5:
        return change(number, to=to, text=text)
    return change(number, "read", to=to, target=chosen.choice("ab"), text=text)


@pytest.mark.parametrize("seed", range(6))
async def test_any_page_is_that_of_a_store_in_memory(store: MongoStore, seed: int) -> None:
    chosen = random.Random(seed)
    model = MemoryStore(MemoryDisk(), kinds=KINDS)
    await model.open()
    written = [any_record(number, chosen) for number in range(1, 61)]
    for one in (store, model):
        await one.write(written[:40])
        await one.write(written[20:])
    for _ in range(40):
        user = chosen.choice(("alice", "u05", "v1", "bob", "nobody"))
        await expect_same_pages(store, model, user, any_bounds(chosen, 70))


class Asked:
    """The conversations that each query of messages or changes asks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.channels: list[Sequence[str]] = []
        collect = OwnDocuments.collect

        async def noted(
            own: OwnDocuments, collection: Any, query: Any, *rest: Any, **more: Any
        ) -> Any:
            if isinstance(query.get("channel"), dict):
                self.channels.append(query["channel"]["$in"])
            return await collect(own, collection, query, *rest, **more)

        monkeypatch.setattr(OwnDocuments, "collect", noted)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


async def test_the_newest_are_looked_for_where_they_can_be(store: MongoStore, asked: Asked) -> None:
    await store.write([record(n, to=to) for n, to in enumerate(SETS[:7], 1)])
    channels = [record(1, to=to).channel for to in SETS[:7]]
    found = await store.user_page("alice", Bounds(2))
    assert ids(found) == [START + n * STEP for n in (6, 7)]
    assert asked.channels == [[channels[6], channels[5]]]
    asked.channels.clear()
    found = await store.user_page("alice", Bounds(3))
    assert ids(found) == [START + n * STEP for n in (5, 6, 7)]
    # The fourth of them can have nothing that is newer than what was found by then.
    assert asked.channels == [[channels[6], channels[5]], [channels[4], channels[3]]]


async def test_a_resume_looks_only_into_sets_that_have_something_new(
    store: MongoStore, asked: Asked
) -> None:
    await store.write([record(n, to=to) for n, to in enumerate(SETS[:7], 1)])
    await store.write([change(20, to=SETS[3])])
    bounds = Bounds(99, after=START + 6 * STEP, newest=False)
    found = await store.user_records("alice", bounds)
    assert ids(found) == [START + n * STEP for n in (7, 20)]
    mine = [record(1, to=SETS[n]).channel for n in (6, 3)]
    assert asked.channels == [mine, mine], "messages, and changes"


async def test_a_page_that_is_full_asks_nothing_beyond_its_end(
    store: MongoStore, asked: Asked
) -> None:
    small = [record(n, to=("alice", "v1")) for n in range(1, 4)]
    await store.write([*small, record(9, to=SETS[0])])
    assert ids(await store.user_page("alice", Bounds(2, newest=False))) == [
        one.id for one in small[:2]
    ]
    assert asked.channels == [[record(9, to=SETS[0]).channel]]
    asked.channels.clear()
    await store.write([record(n, to=("alice", "v1")) for n in (10, 11)])
    assert ids(await store.user_page("alice", Bounds(2))) == [START + n * STEP for n in (10, 11)]
    assert asked.channels == []
    bounds = Bounds(1, after=START + STEP - 1, before=START + 2 * STEP, newest=False)
    assert ids(await store.user_page("alice", bounds)) == [small[0].id]
    assert asked.channels == [], "nothing is between what was found and where it began"


@pytest.mark.parametrize("newest", [True, False])
async def test_a_page_of_large_bodies_is_cut_over_all_sources(
    store: MongoStore, newest: bool
) -> None:
    await store.write(
        [record(n, "x" * 1000, to=(SETS[n % 7] if n % 2 else SETS[8])) for n in range(1, 30)]
    )
    bounds = Bounds(99, newest=newest, max_bytes=5000)
    found = await store.user_page("alice", bounds)
    expected = range(25, 30) if newest else range(1, 6)
    assert ids(found) == [START + n * STEP for n in expected]
    assert body_bytes(found[1:]) <= 5000 < body_bytes(found)


async def test_a_range_of_one_id_is_looked_at(store: MongoStore) -> None:
    await store.write([record(1, to=SETS[0]), record(2, to=SETS[8])])
    for number in (1, 2):
        position = START + number * STEP
        bounds = Bounds(9, after=position - 1, before=position + 1)
        assert ids(await store.user_page("alice", bounds)) == [position]


async def test_a_count_that_is_reached_looks_into_no_large_set(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write([record(1, to=SETS[8]), record(2, to=SETS[8]), record(3, to=SETS[0])])
    assert await store.count_user("alice", Bounds(3)) == 3
    monkeypatch.setattr(store._large_sets, "of", None)
    assert await store.count_user("alice", Bounds(2)) == 2


async def test_a_list_that_is_full_reads_no_older_conversations(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write([record(n, to=to) for n, to in enumerate(SETS[:7], 1)])
    await store.write([record(20 + n, to=to) for n, to in enumerate(SETS[7:10])])
    asked: list[int] = []
    listed = store._listed

    async def noted(channels: Sequence[str], bounds: Bounds) -> Any:
        asked.append(len(channels))
        return await listed(channels, bounds)

    monkeypatch.setattr(store, "_listed", noted)
    assert len(await store.conversations("alice", before=MAX_ID, limit=3)) == 3
    assert asked == []
    assert len(await store.conversations("alice", before=MAX_ID, limit=4)) == 4
    assert asked == [2]
