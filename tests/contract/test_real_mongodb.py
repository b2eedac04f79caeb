"""What only MongoDB itself can show: the index of each query, and a replica set's word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import MAX_ID
from chatsvc.core.membership import RequestKey
from chatsvc.core.page import Bounds
from chatsvc.storage.mongo.store import MongoStore
from testkit import mongod
from testkit.groups import GROUP, at, group_message, joined, left
from testkit.records import record, records

pytestmark = pytest.mark.real_mongodb

LIMIT = 10
GROUPS = 40
Profile = list[dict[str, Any]]


@pytest.fixture
async def store(mongo_uri: str, mongo_db: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongo_uri, mongo_db, "messages")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def other(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    with mongod.client(mongo_uri) as client:
        yield client


def winning_stages(plan: dict[str, Any]) -> set[str]:
    """The names of all stages of a plan."""
    stages = {plan["stage"]} if "stage" in plan else set()
    for value in plan.values():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                stages |= winning_stages(inner)
    return stages


async def test_every_read_walks_an_index_and_little_more_than_it_returns(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    for first in range(1, 2000, 500):
        await store.write(
            [
                record(n, to=("alice", f"user{n % 20}"), client_id=f"k{n}")
                for n in range(first, first + 500)
            ]
        )
    database = other[mongo_db]
    database.command("profile", 2)
    await store.channel_page("alice,user7", Bounds(LIMIT, before=record(1500).id))
    await store.user_page("user7", Bounds(LIMIT, after=record(300).id, newest=False))
    await store.count_user("user7", Bounds(LIMIT))
    await store.conversations("alice", before=MAX_ID, limit=LIMIT)
    await store.find_client_id("alice", "alice,user7", "k7")
    await store.get(record(9).id)
    await store.head()
    await store.client_ids_above(record(300).id, LIMIT)
    database.command("profile", 0)
    reads: Profile = list(
        database["system.profile"].find({"op": {"$in": ["query", "command"]}, "ns": {
            "$in": [f"{mongo_db}.messages", f"{mongo_db}.messages_conversations"]}})
    )  # fmt: skip
    assert len(reads) == 9
    for read in reads:
        assert read["docsExamined"] <= LIMIT + 1, read
        assert read["keysExamined"] <= LIMIT + 2, read
        assert not read.get("hasSortStage"), read
        assert any(word in read["planSummary"] for word in ("IXSCAN", "IDHACK")), read


def group(number: int) -> str:
    return f",g:{number:02}"


async def test_groups_are_merged_from_ranges_of_an_index_without_a_sort(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    await store.write([joined(n, "alice", channel=group(n)) for n in range(GROUPS)])
    await store.write(
        [group_message(n, channel=group(n % GROUPS)) for n in range(GROUPS, 20 * GROUPS)]
    )
    await store.write([left(20 * GROUPS, "alice", 0, channel=group(0))])
    database = other[mongo_db]
    database.command("profile", 2)
    await store.user_page("alice", Bounds(LIMIT))
    await store.user_page("alice", Bounds(LIMIT, after=at(300), newest=False))
    await store.user_records("alice", Bounds(LIMIT, before=at(300)))
    await store.count_user_records("alice", Bounds(LIMIT))
    await store.conversations("alice", before=MAX_ID, limit=LIMIT)
    await store.channel_page(group(7), Bounds(LIMIT))
    await store.channel_records(group(7), Bounds(LIMIT), reader="alice")
    await store.members("alice", group(7))
    await store.state_page("", LIMIT)
    database.command("profile", 0)
    places = ["messages", "messages_changes", "messages_conversations", "messages_state"]
    reads: Profile = list(
        database["system.profile"].find(
            {
                "op": {"$in": ["query", "command"]},
                "ns": {"$in": [f"{mongo_db}.{one}" for one in places]},
            }
        )
    )
    assert len(reads) > 30
    for read in reads:
        assert not read.get("hasSortStage"), read
        assert "COLLSCAN" not in read["planSummary"], read
        assert read["keysExamined"] <= 3 * GROUPS + LIMIT, read
        assert read["docsExamined"] <= GROUPS + LIMIT + 1, read
    merged = [one for one in reads if "$or" in one["command"].get("filter", {})]
    assert {one["ns"].rpartition(".")[2] for one in merged} == {"messages", "messages_changes"}
    for read in merged:
        assert read["docsExamined"] <= LIMIT + 1, "what is merged are keys"


async def test_the_optional_index_is_used_for_client_ids(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    await store.write([record(n, client_id=f"k{n}") for n in range(1, 50)])
    query = {"sender": "alice", "channel": "alice,bob", "client_id": "k7"}
    explained = other[mongo_db]["messages"].find(query).sort("_id", 1).limit(1).explain()
    assert "client_id" in str(explained["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in winning_stages(explained["queryPlanner"]["winningPlan"])


async def test_requests_are_found_by_their_index_and_others_are_not_in_it(
    store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    users = [f"user{number}" for number in range(100)]
    keys = tuple(RequestKey(user, "k", b"digest") for user in users)
    merged = [msgspec.structs.replace(group_message(n), keys=keys) for n in range(1, 30)]
    await store.write([*merged, *(group_message(n) for n in range(30, 500))])
    database = other[mongo_db]
    database.command("profile", 2)
    assert await store.find_client_id("user7", GROUP, "k") == (at(1), b"digest")
    assert await store.find_client_id("user7", GROUP, "other") is None
    database.command("profile", 0)
    asked = {
        "op": {"$in": ["query", "command"]},
        "ns": f"{mongo_db}.messages",
        "command.filter.requests": {"$exists": True},
    }
    reads: Profile = list(database["system.profile"].find(asked))
    assert len(reads) == 2
    for read in reads:
        assert read["docsExamined"] <= 1, read
        assert read["keysExamined"] <= 2, "by client_id and sender together"
        assert not read.get("hasSortStage"), read
    checked = database.command("validate", "messages")
    assert checked["keysPerIndex"]["requests"] == 29 * len(users)
    assert checked["keysPerIndex"]["requests_minted_ahead"] == 0


@pytest.fixture
def set_name(mongo_uri: str) -> str:
    name = mongod.replica_set(mongo_uri)
    if name is None:
        pytest.skip("only a replica set can show this; the server here stands alone")
    return name


async def test_what_is_stored_is_committed_by_the_majority(
    set_name: str, store: MongoStore, mongo_db: str, other: MongoClient[dict[str, Any]]
) -> None:
    committed = other[mongo_db].get_collection("messages", read_concern=ReadConcern("majority"))
    for first in range(1, 200, 20):
        await store.write(records(20, first=first))
        assert committed.count_documents({}) == first + 19


async def test_an_election_is_got_over(
    set_name: str, store: MongoStore, other: MongoClient[dict[str, Any]]
) -> None:
    await store.write(records(5))
    try:
        other.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)
    except AutoReconnect:
        print("the primary closed its connections, as it may")
    async with asyncio.timeout(60):
        while True:
            try:
                assert await store.write(records(5, first=4)) == []
                break
            except StoreUnavailable:
                await asyncio.sleep(0.2)
    found = await store.channel_page("alice,bob", Bounds(100))
    assert [entry.id for entry in found] == [one.id for one in records(8)]
