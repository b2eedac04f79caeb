"""A MongoDB store of an older version is upgraded: all of it, once, whenever it was ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from bson import ObjectId
from structlog.testing import capture_logs

from chatsvc.core.errors import ConfigurationError, VersionTooNew
from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.page import Bounds
from chatsvc.core.record import Record
from chatsvc.storage import store_versions
from chatsvc.storage.mongo import from_version_2, migrations
from chatsvc.storage.mongo.store import MongoStore
from testkit import mongo_version_2
from testkit.records import KINDS, record, with_body
from tests.contract.support.mongo_killing import Killed, Killer
from tests.contract.support.stored import expect, ids

Database = Any

PEOPLE = [tuple(f"user{n:03}" for n in range(count)) for count in (2, 4, 5, 9, 40)]
"""Sets of both forms; the last has a hashed channel."""


def odd(number: int, to: tuple[str, ...]) -> Record:
    """A message with a member that this version does not know."""
    plain = record(number, to=to)
    return with_body(plain, plain.body[:-1] + b',"reply_to":"1"}')


WRITTEN = [
    odd(n, PEOPLE[n % 5])
    if n % 7 == 0
    else record(n, to=PEOPLE[n % 5], client_id=f"k{n}", metadata={"n": n})
    for n in range(1, 26)
]


@pytest.fixture
def old(other: Database) -> Database:
    """A store of version 2 with messages."""
    mongo_version_2.make(other)
    mongo_version_2.write(other, WRITTEN)
    return other


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_version_2, "_CONVERSATIONS_AT_ONCE", 2)
    monkeypatch.setattr(from_version_2, "_MESSAGES_AT_ONCE", 4)


Make = Callable[..., Any]


@pytest.fixture
def opened(mongo_uri: str, mongo_db: str) -> Make:
    @asynccontextmanager
    async def open_store(**options: Any) -> AsyncIterator[MongoStore]:
        store = MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS, **options)
        try:
            await store.open()
            yield store
        finally:
            await store.close()

    return open_store


async def expect_everything(store: MongoStore, written: list[Record]) -> None:
    for user in PEOPLE[-1]:
        mine = [one for one in written if user in one.audience]
        expect(await store.user_page(user, Bounds(99)), mine)
        expect(await store.user_records(user, Bounds(99, newest=False)), mine)
        assert await store.count_user(user, Bounds(99)) == len(mine)
        newest = {one.channel: one for one in mine}
        listed = await store.conversations(user, before=MAX_ID, limit=99)
        assert [(one.channel, one.last_id) for one in listed] == sorted(
            ((channel, one.id) for channel, one in newest.items()), key=lambda one: -one[1]
        )
        for one in listed:
            last = msgspec.json.decode(newest[one.channel].body)
            assert msgspec.json.decode(one.last_message) == last
            found = await store.members(user, one.channel)
            assert found == (newest[one.channel].audience, one.last_id)
    for people in PEOPLE:
        mine = [one for one in written if one.audience == people]
        expect(await store.channel_page(mine[0].channel, Bounds(99)), mine)
    assert await store.head() == written[-1].id
    assert await store.find_client_id("user000", WRITTEN[0].channel, "k1") is not None


def state(database: Database) -> dict[str, list[Any]]:
    """All documents, those of large sets without their people."""
    names = ["messages", "messages_conversations", "messages_members", "messages_meta"]
    return {name: sorted(database[name].find(), key=lambda one: str(one["_id"])) for name in names}


async def test_a_store_of_version_2_is_upgraded(old: Database, opened: Make) -> None:
    async with opened() as store:
        assert await store.versions() == (3, 3)
        assert await store.identity() == "i" * 32
        await expect_everything(store, WRITTEN)
        added = [record(n, to=people) for n, people in enumerate(PEOPLE, 30)]
        assert await store.write(added) == []
        await expect_everything(store, WRITTEN + added)
    for message in old.messages.find():
        large = len(message["channel"].split(",")) > 4 or message["channel"][0] == ","
        assert ("audience" in message) != large
        assert message["v"] == (2 if large or message["_id"] > format_id(added[0].id - 1) else 1)
    assert "user_page" not in old.messages.index_information()
    large = [people for people in PEOPLE if len(people) > 4]
    assert old.messages_members.count_documents({}) == sum(map(len, large))
    assert {one["_id"] for one in old.messages_meta.find()} == {"store"}


async def test_an_upgrade_that_is_ended_again_and_again_gets_on(
    old: Database, opened: Make, small_batches: None, killer: Killer
) -> None:
    for ended in range(40):
        killer.left = 20  # enough to see where the last attempt was, and for one batch
        try:
            async with opened(upgrades=True):
                break
        except Killed:
            assert ended < 39, "it does not get on"
    assert ended >= 4
    killer.left = -1
    async with opened() as store:
        await expect_everything(store, WRITTEN)


async def test_whichever_call_is_the_last_nothing_is_lost(
    other: Database, opened: Make, small_batches: None, killer: Killer
) -> None:
    """A process dies before its nth call; the next one ends what it began."""
    expected: dict[str, list[Any]] | None = None
    for calls in range(-1, 200):
        other.client.drop_database(other.name)
        mongo_version_2.make(other)
        mongo_version_2.write(other, WRITTEN[:10])
        killer.left = calls
        try:
            async with opened():
                if expected is not None:
                    break
        except Killed:
            killer.left = -1
            async with opened():
                pass
        expected = expected or state(other)
        assert state(other) == expected, calls
    else:
        pytest.fail("it never came to its end")
    assert calls > 30


async def test_two_processes_that_upgrade_at_once_do_no_harm(
    old: Database, mongo_uri: str, mongo_db: str, opened: Make, small_batches: None
) -> None:
    stores = [MongoStore(mongo_uri, mongo_db, "messages", kinds=KINDS) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await expect_everything(store, WRITTEN)
        await store.close()


async def test_a_large_store_is_upgraded_by_the_command_alone(
    old: Database, opened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_versions, "UPGRADED_AT_OPEN", len(WRITTEN) - 1)
    before = state(old)
    with pytest.raises(ConfigurationError) as refused:
        async with opened():
            pass
    assert str(refused.value) == (
        "the store has version 2 and more than 24 messages: it must be upgraded to version 3, "
        "with `chatsvc migrate`, before it is used"
    )
    assert state(old) == before
    async with opened(upgrades=True) as store:
        await expect_everything(store, WRITTEN)
    async with opened() as store:
        await expect_everything(store, WRITTEN)


async def test_a_store_that_is_partly_upgraded_is_of_the_version_before(
    old: Database, mongo_uri: str, mongo_db: str, opened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(from_version_2, "upgrade", ended)
        with pytest.raises(InterruptedError):
            async with opened():
                pass
    store = MongoStore(mongo_uri, mongo_db, "messages")
    assert await store.versions() == (2, 3)
    await store.close()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", migrations.STEPS[:2])
        with pytest.raises(VersionTooNew, match="has version 3; this program knows up to 2"):
            async with opened():
                pass
    async with opened() as store:
        assert await store.versions() == (3, 3)
        await expect_everything(store, WRITTEN)


@pytest.mark.parametrize("lost", ["the conversation", "its last move"])
async def test_a_message_whose_conversation_was_not_written_is_found(
    old: Database, opened: Make, lost: str
) -> None:
    if lost == "the conversation":
        old.messages_conversations.delete_many({})
        old.messages_conversations.insert_one({"_id": "theirs", "audience": 5})
    written = [one for one in WRITTEN if len(one.audience) > 4]
    later = [record(n, to=people) for n, people in enumerate(PEOPLE[2:], 30)]
    old.messages.insert_many(map(mongo_version_2.document, later))
    async with opened() as store:
        for user in PEOPLE[-1]:
            mine = [one for one in written + later if user in one.audience]
            expect(
                [one for one in await store.user_page(user, Bounds(99)) if len(one.audience) > 4],
                mine,
            )
            listed = await store.conversations(user, before=MAX_ID, limit=99)
            large = [one.last_id for one in listed if len(one.participants) > 4]
            assert large == [one.id for one in later[::-1] if user in one.audience]


async def test_documents_of_others_stay_as_they_are(old: Database, opened: Make) -> None:
    many = list("abcdef")
    theirs = [
        {"_id": ObjectId("6b0758a9e193b42675b7e10b"), "audience": many},
        {"_id": format_id(WRITTEN[3].id + 1), "audience": many, "channel": "x"},
        {"_id": format_id(WRITTEN[3].id + 2), "audience": many, "v": 1, "rev": "1", "digest": b""},
        {"_id": format_id(WRITTEN[3].id + 3), "audience": many, "channel": "x", "v": 1,
         "digest": b""},
        {"_id": format_id(WRITTEN[3].id + 4), "audience": many, "channel": "x", "v": 1,
         "rev": "1"},
    ]  # fmt: skip
    conversations = [
        {"_id": 5},
        {"_id": "theirs", "audience": ["user001"], "last_id": format_id(WRITTEN[3].id)},
        {"_id": "theirs too", "participants": [5], "last_id": format_id(WRITTEN[3].id)},
        {"_id": "and theirs", "participants": many, "last_id": 7},
    ]
    old.messages.insert_many(theirs)
    old.messages_conversations.insert_many(conversations)
    with capture_logs():
        async with opened() as store:
            await expect_everything(store, WRITTEN)
    for collection, documents in (
        (old.messages, theirs),
        (old.messages_conversations, conversations),
    ):
        for one in documents:
            assert collection.find_one({"_id": one["_id"]}) == one


async def test_a_store_whose_own_document_was_lost_is_no_fresh_one(
    old: Database, opened: Make
) -> None:
    old.messages_meta.delete_many({})
    async with opened() as store:
        await expect_everything(store, WRITTEN)


async def test_a_long_upgrade_says_how_far_it_is(
    old: Database, opened: Make, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_version_2, "_LOGGED_EVERY", 10)
    with capture_logs() as lines:
        async with opened() as store:
            assert ids(await store.channel_page(WRITTEN[0].channel, Bounds(1)))
    logged = [one["messages"] for one in lines if one["event"] == "store_partly_upgraded"]
    assert logged == [12, 24]
