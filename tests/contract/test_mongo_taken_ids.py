"""Messages and changes share their ids, though MongoDB keeps them in two collections."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.ids import format_id
from chatsvc.core.page import Bounds
from chatsvc.storage.mongo.store import MongoStore
from testkit.records import KINDS, change, record, records
from tests.contract.support.mongo_script import Script, found, running_script, store_at
from tests.contract.support.stored import ids


async def test_taken_ids_are_looked_for_only_where_they_may_be() -> None:
    with running_script() as script:
        store = store_at(script.server.uri)
        await store.open()
        await looks_only_where_they_may_be(script, store)
        await store.close()


async def looks_only_where_they_may_be(script: Script, store: MongoStore) -> None:
    newest = format_id(record(5).id)
    script.answers["find"] = lambda _: found({"_id": newest, "id": newest})
    script.asked.clear()
    await store.write(records(2, first=6))
    asked = script.last("find")
    assert (asked["find"], asked["sort"], asked["limit"]) == ("messages_changes", {"id": -1}, 1)
    await store.write(records(2, first=8))
    assert script.count("find") == 1, "it is remembered, and these are above it"
    script.answers["find"] = lambda _: found()
    await store.write(records(2, first=5))
    assert script.count("find") == 2
    taken = [format_id(one.id) for one in records(2, first=5)]
    asked = script.last("find")
    assert (asked["find"], asked["filter"]) == ("messages_changes", {"id": {"$in": taken}})


async def test_in_one_batch_an_id_is_the_messages(store: MongoStore) -> None:
    rejected = await store.write([record(1), change(1), change(2), change(2, text="other")])
    assert [(one.record, one.code) for one in rejected] == [
        (change(1), "digest_conflict"),
        (change(2, text="other"), "digest_conflict"),
    ]
    found = await store.user_records("alice", Bounds(9))
    assert [(one.id, one.kind) for one in found] == [
        (record(1).id, "message"),
        (change(2).id, "edit"),
    ]


async def test_a_message_of_another_process_is_found_in_the_way_of_a_change(
    store: MongoStore, mongo_uri: str, mongo_db: str
) -> None:
    another = MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS)
    await another.open()
    await store.write([change(5)])
    await another.write([record(6), change(9)])
    (rejected,) = await store.write([change(6)])
    assert rejected.code == "digest_conflict"
    (rejected,) = await another.write([record(5)])
    assert rejected.code == "digest_conflict"
    await another.close()


async def test_a_latest_change_with_the_id_of_another_is_refused(store: MongoStore) -> None:
    first = change(1, "read", target="a")
    await store.write([first])
    for false in (change(1, "read", target="b", text="y"), change(1, text="y")):
        (rejected,) = await store.write([false])
        assert (rejected.record, rejected.code) == (false, "digest_conflict")
    assert ids(await store.user_records("alice", Bounds(9))) == [first.id]


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
async def test_a_latest_change_whose_answer_was_lost_is_written_again(
    store: MongoStore, other: Any, numbers: tuple[int, int]
) -> None:
    for number in numbers:
        one = change(number, "read", target="a")
        lost = {"failCommands": ["update"], "writeConcernError": {"code": 64, "errmsg": "late"}}
        other.client.admin.command(
            "configureFailPoint", "failCommand", mode={"times": 1}, data=lost
        )
        with pytest.raises(StoreUnavailable):
            await store.write([one])
        assert await store.write([one]) == []
    assert ids(await store.user_records("alice", Bounds(9))) == [change(2).id]
    assert other.messages_changes.count_documents({}) == 1


async def test_an_older_change_that_came_in_between_gives_way() -> None:
    """Another writer made the document between this update's look and its insert."""
    with running_script() as script:
        store = store_at(script.server.uri, kinds=KINDS)
        await store.open()
        replies = [
            {
                "ok": 1,
                "n": 0,
                "nModified": 0,
                "writeErrors": [{"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}],
            },
            {"ok": 1, "n": 1, "nModified": 1},
            {"ok": 1, "n": 1, "nModified": 1},
        ]
        script.answers["update"] = lambda _: replies.pop(0)
        script.asked.clear()
        assert await store.write([change(1, "read", target="a")]) == []
        first, second, third = [ask for name, ask in script.asked if name == "update"]
        assert (first["update"], second["update"]) == ("messages_changes", "messages_changes")
        assert first["updates"][0]["upsert"] is True
        assert not second["updates"][0].get("upsert")
        assert first["updates"][0]["q"] == second["updates"][0]["q"]
        assert third["update"] == "messages_conversations"
        await store.close()
