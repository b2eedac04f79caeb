"""Documents, indexes and collections that others made, and what the URI says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from bson import ObjectId
from bson.regex import Regex
from structlog.testing import capture_logs

from chatsvc.core.errors import ConfigurationError
from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.page import Bounds
from chatsvc.storage.mongo.documents import to_document
from chatsvc.storage.mongo.store import MongoStore
from testkit.records import START, record, records

Database = Any

FOREIGN: list[dict[str, Any]] = [
    {"_id": ObjectId("6b0758a9e193b42675b7e10b"), "name": "an ObjectId, as most have"},
    {"_id": 17},
    {"_id": "zzz, above every id"},
    {"_id": " below every id"},
    {"_id": "00f, between ids"},
    {"_id": "01a1ec2e3f40000z"},
    {"_id": "f" * 16, "name": "an id like ours, and nothing else"},
    {"_id": {"a": 1}},
    {"_id": b"bytes"},
]


@pytest.fixture
async def store(mongo_uri: str, mongo_db: str) -> AsyncIterator[MongoStore]:
    store = MongoStore(mongo_uri, mongo_db, "messages")
    yield store
    await store.close()


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


@pytest.mark.parametrize("document", FOREIGN[:4], ids=lambda one: type(one["_id"]).__name__)
async def test_a_foreign_document_is_told_of_once_at_the_start(
    store: MongoStore, other: Database, mongo_db: str, document: dict[str, Any]
) -> None:
    ours = record(1)
    other.messages.insert_many([to_document(ours, msgspec.json.decode(ours.body)), document])
    with capture_logs() as lines:
        await store.open()
        await store.open()
    assert lines == [
        {
            "event": "foreign_documents",
            "log_level": "warning",
            "collection": f"{mongo_db}.messages",
            "id_type": type(document["_id"]).__name__,
            "meaning": "documents that are not chatsvc's are passed over",
        }
    ]
    assert await store.head() == ours.id


async def test_nothing_is_said_where_all_is_ours(store: MongoStore, mongo_uri: str) -> None:
    await store.open()
    await store.write(records(3))
    again = MongoStore(mongo_uri, store._messages.database.name, "messages")
    with capture_logs() as lines:
        await again.open()
    await again.close()
    assert lines == []


async def test_foreign_documents_are_passed_over_by_everything(
    store: MongoStore, other: Database
) -> None:
    other.messages.insert_many(FOREIGN)
    with capture_logs():
        await store.open()
        assert await store.head() == 0
        await store.write(records(5))
        assert await store.head() == record(5).id
        page = await store.channel_page("alice,bob", Bounds(10))
        assert [entry.id for entry in page] == [one.id for one in records(5)]
        assert await store.get(MAX_ID) is None
        assert await store.count_user("bob", Bounds(10)) == 5
        assert await store.purge(MAX_ID) == 5
        assert await store.purge(MAX_ID) == 0
    assert other.messages.count_documents({}) == len(FOREIGN)


async def test_a_foreign_document_in_a_page_is_made_up_for(
    store: MongoStore, other: Database
) -> None:
    await store.open()
    await store.write(records(6, client_id="k"))
    theirs = {"channel": "alice,bob", "audience": ["bob"], "sender": "alice", "client_id": "k"}
    between = START + 3 * 64 + 1
    other.messages.insert_many(
        [
            {"_id": format_id(between), "rev": format_id(between), **theirs},
            {"_id": format_id(between + 1), "rev": "not hex", **theirs},
            {"_id": "01", "rev": "01", **theirs},
        ]
    )
    other.messages_conversations.insert_one(
        {"_id": "theirs", "audience": ["bob"], "last_id": format_id(between)}
    )
    everything = [one.id for one in records(6)]
    with capture_logs() as lines:
        for newest in (True, False):
            for limit in range(1, 8):
                expected = everything[-limit:] if newest else everything[:limit]
                bounds = Bounds(limit, newest=newest)
                for page in (
                    await store.channel_page("alice,bob", bounds),
                    await store.user_page("bob", bounds),
                ):
                    assert [entry.id for entry in page] == expected
        listed = await store.conversations("bob", before=MAX_ID, limit=5)
        assert [one.channel for one in listed] == ["alice,bob"]
        assert await store.get(between) is None
        assert (await store.find_client_id("alice", "alice,bob", "k") or (0,))[0] == everything[0]
    assert events(lines) == ["foreign_document_passed_over"], "once"


async def test_a_foreign_document_under_an_id_of_ours_is_a_conflict(
    store: MongoStore, other: Database
) -> None:
    await store.open()
    other.messages.insert_one({"_id": format_id(record(1).id), "name": "theirs"})
    (rejection,) = await store.write([record(1)])
    assert rejection.code == "digest_conflict"


@pytest.mark.parametrize(
    "odd", [{"content": ObjectId()}, {"metadata": {"n": Regex("a")}}, {"audience": 5}, {"v": "1"}]
)
async def test_what_json_cannot_express_is_passed_over(
    store: MongoStore, other: Database, odd: dict[str, Any]
) -> None:
    await store.open()
    await store.write(records(3))
    other.messages.update_one({"_id": format_id(record(2).id)}, {"$set": odd})
    with capture_logs() as lines:
        page = await store.channel_page("alice,bob", Bounds(10))
        assert await store.get(record(2).id) is None
    assert [entry.id for entry in page] == [record(1).id, record(3).id]
    assert events(lines) == ["foreign_document_passed_over"]


async def test_client_ids_of_others_are_passed_over(store: MongoStore, other: Database) -> None:
    await store.open()
    await store.write(records(2, client_id="k"))
    ids = [format_id(record(number).id) for number in (3, 4, 5)]
    for position, theirs in zip(
        ids, ({"sender": 5}, {"sender": 5, "client_id": "k"}, {"sender": "x", "client_id": 5}),
        strict=True,
    ):  # fmt: skip
        other.messages.insert_one({"_id": position, **theirs})
    with capture_logs():
        found = await store.client_ids_above(0, 10)
    assert found == [(one.id, "alice", "k") for one in records(2)]


async def test_foreign_dead_letters_are_passed_over(store: MongoStore, other: Database) -> None:
    with capture_logs():
        await store.open()
    other.messages_dead_letters.insert_many(FOREIGN[:6])
    assert await store.dead_letters.list() == []
    assert await store.dead_letters.newest() is None
    assert await store.dead_letters.count() == 0


async def test_a_unique_index_of_others_is_told_of(
    store: MongoStore, other: Database, mongo_db: str
) -> None:
    other.messages.create_index("channel", unique=True, name="theirs")
    with capture_logs() as lines:
        await store.open()
    assert lines == [
        {
            "event": "foreign_unique_index",
            "log_level": "warning",
            "collection": f"{mongo_db}.messages",
            "index": "theirs",
            "meaning": "messages that it refuses become dead letters",
        }
    ]


# --- what only MongoDB itself makes


REFUSED = {
    "a view": {"viewOn": "other", "pipeline": []},
    "a capped collection": {"capped": True, "size": 1_000_000},
}


@pytest.mark.real_mongodb
@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_hold_messages_is_refused(
    store: MongoStore, other: Database, options: dict[str, Any]
) -> None:
    other.create_collection("messages", **options)
    with pytest.raises(ConfigurationError, match=r"MONGO_COLLECTION: .*\.messages is"):
        await store.open()


ENGLISH = {"locale": "en", "strength": 2}


@pytest.mark.real_mongodb
async def test_a_collation_of_the_conversations_is_refused(
    store: MongoStore, other: Database
) -> None:
    other.create_collection("messages_conversations", collation=ENGLISH)
    with pytest.raises(ConfigurationError, match="collation en"):
        await store.open()


@pytest.mark.real_mongodb
async def test_a_collation_of_the_messages_takes_nobody_for_another(
    store: MongoStore, other: Database
) -> None:
    other.create_collection("messages", collation=ENGLISH)
    with capture_logs() as lines:
        await store.open()
    assert events(lines) == ["collection_with_collation"]
    await store.write([record(1, to=("alice", "bob")), record(2, to=("Alice", "bob"))])
    assert [entry.id for entry in await store.user_page("Alice", Bounds(10))] == [record(2).id]
    assert [entry.id for entry in await store.channel_page("alice,bob", Bounds(10))] == [
        record(1).id
    ]
    assert await store.count_user("ALICE", Bounds(10)) == 0
    indexes = other.messages.index_information()
    assert "collation" not in indexes["channel_page"], "of its own: by bytes"


def test_what_is_listed_decides() -> None:
    """What the server says of a collection, without a server that can make it."""
    from chatsvc.storage.mongo.collections import _check_kind

    class Named:
        name = "messages"
        full_name = "chat.messages"

    def check(described: dict[str, Any], *, shared: bool = True) -> None:
        _check_kind(Named(), described, shared=shared)  # type: ignore[arg-type]

    check({"type": "collection", "options": {}})
    check({"options": {"collation": {"locale": "simple"}}}, shared=False)
    with pytest.raises(ConfigurationError, match=r"chat\.messages is a view"):
        check({"type": "view", "options": {"viewOn": "x"}})
    with pytest.raises(ConfigurationError, match="is a timeseries"):
        check({"type": "timeseries"})
    with pytest.raises(ConfigurationError, match="is capped"):
        check({"type": "collection", "options": {"capped": True}})
    with pytest.raises(ConfigurationError, match="collation en"):
        check({"type": "collection", "options": {"collation": ENGLISH}}, shared=False)
    with capture_logs() as lines:
        check({"type": "collection", "options": {"collation": ENGLISH}})
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("collection_with_collation", "warning")
    assert (line["collection"], line["locale"]) == ("chat.messages", "en")
    assert "its index of _id cannot be used" in line["meaning"]
