"""What is asked of MongoDB about client ids, noted by a scripted server (mockupdb)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from bson.int64 import Int64

from chatsvc.core.ids import format_id
from chatsvc.storage.mongo.store import MongoStore
from tests.contract.support.mongo_script import Script, found, store_at


@pytest.fixture
async def store(script: Script) -> AsyncIterator[MongoStore]:
    store = store_at(script.server.uri)
    await store.open()
    yield store
    await store.close()


async def test_the_latest_of_each_sender_are_grouped_by_the_server(
    script: Script, store: MongoStore
) -> None:
    newest = format_id(5 << 16)
    script.answers["find"] = lambda ask: found({"_id": newest, "id": newest})
    script.answers["aggregate"] = lambda _: found({"_id": "zoe", "latest": Int64(9_000)})
    assert await store.past_client_ids(limit=7, since_ms=3) == (5, [("zoe", 9_000)])
    pipelines = [ask["pipeline"] for name, ask in script.asked if name == "aggregate"]
    of_requests = 0
    for match, *rest in pipelines:
        within = "requests." if {"$unwind": "$requests"} in rest else ""
        ahead = {
            f"{within}minted_ahead_ms": {"$gt": 5_003},
            f"{within}sender": {"$type": "string"},
        }
        assert match["$match"].items() >= ahead.items()
        if within:
            of_requests += 1
            assert rest[:2] == [{"$unwind": "$requests"}, {"$match": ahead}]
        latest = {"$max": f"${within}minted_ahead_ms"}
        assert rest[-3:] == [
            {"$group": {"_id": f"${within}sender", "latest": latest}},
            {"$sort": {"latest": -1}},
            {"$limit": 7},
        ]
    assert len(pipelines) == 6, "of the letters, of the messages and of the changes"
    assert of_requests == 3, "and of the requests in each of them"


async def test_a_request_is_looked_for_as_one_element_in_the_order_of_its_index(
    script: Script, store: MongoStore
) -> None:
    script.asked.clear()
    assert await store.find_client_id("alice", ",g:team", "k", after=7) is None
    element = {"$elemMatch": {"client_id": "k", "sender": "alice"}}
    asked = [ask for name, ask in script.asked if name == "find" and "requests" in ask["filter"]]
    order = {"messages_dead_letters": "_id", "messages": "_id", "messages_changes": "id"}
    assert {one["find"] for one in asked} == order.keys()
    for one in asked:
        assert one["filter"].items() >= {"channel": ",g:team", "requests": element}.items()
        assert one["filter"][order[one["find"]]]["$gt"] == format_id(7)
        assert (one["sort"], one["limit"]) == ({order[one["find"]]: 1}, 1)
