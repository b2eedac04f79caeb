"""The indexes and documents of the store, their version, and the way from each to the next."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from chatsvc.core.errors import StoreUnavailable, version_too_new
from chatsvc.storage import store_versions
from chatsvc.storage.mongo import from_version_2
from chatsvc.storage.mongo.collections import LOWEST, MEMBERS_INDEX, CollectionNames
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.dead_letters import MongoDeadLetters
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import cause_of, unavailable

STORE: Final = {"_id": "store"}
"""The document of version and identity, in the collection ``meta``."""


def _key_index(by: str) -> IndexModel:
    """The index of client ids. The first of a key comes first, without a sort.

    Args:
        by: the field that holds a record's id.
    """
    return IndexModel(
        [
            ("sender", ASCENDING),
            ("channel", ASCENDING),
            ("client_id", ASCENDING),
            (by, ASCENDING),
        ],
        name="client_id",
        partialFilterExpression={"client_id": {"$exists": True}},
        collation=SIMPLE,
    )


def _request_indexes(by: str) -> tuple[IndexModel, IndexModel]:
    """Those of the requests that became one record; only such documents are in them.

    All fields but ``requests`` are single values, so that the first of a key comes first here, too.
    """
    return (
        IndexModel(
            [
                ("channel", ASCENDING),
                ("requests.client_id", ASCENDING),
                ("requests.sender", ASCENDING),
                (by, ASCENDING),
            ],
            name="requests",
            partialFilterExpression={"requests": {"$exists": True}},
            collation=SIMPLE,
        ),
        IndexModel(
            [("requests.minted_ahead_ms", ASCENDING)],
            name="requests_minted_ahead",
            partialFilterExpression={"requests.minted_ahead_ms": {"$exists": True}},
            collation=SIMPLE,
        ),
    )


def _members_index(by: str) -> IndexModel:
    """The index of records that are for all members of a group or a room."""
    return IndexModel(
        [("for_members", ASCENDING), (by, ASCENDING)],
        name=MEMBERS_INDEX,
        partialFilterExpression={"for_members": {"$exists": True}},
        collation=SIMPLE,
    )


_KEY_INDEX: Final = _key_index("_id")
_AHEAD_INDEX: Final = IndexModel(
    [("minted_ahead_ms", ASCENDING)],
    name="minted_ahead",
    partialFilterExpression={"minted_ahead_ms": {"$exists": True}},
    collation=SIMPLE,
)
_MESSAGE_INDEXES: Final = (
    IndexModel([("channel", ASCENDING), ("_id", ASCENDING)], name="channel_page", collation=SIMPLE),
    _KEY_INDEX,
)
_FOR_SMALL_SETS: Final[Document] = {"audience": {"$exists": True}}
_INBOX_INDEX: Final = IndexModel(
    [("audience", ASCENDING), ("_id", ASCENDING)],
    name="inbox",
    partialFilterExpression=_FOR_SMALL_SETS,
    collation=SIMPLE,
)
_CHANGE_INDEXES: Final = (
    IndexModel([("id", ASCENDING)], name="id", collation=SIMPLE),
    IndexModel([("channel", ASCENDING), ("id", ASCENDING)], name="channel", collation=SIMPLE),
    IndexModel(
        [("audience", ASCENDING), ("id", ASCENDING)],
        name="inbox",
        partialFilterExpression=_FOR_SMALL_SETS,
        collation=SIMPLE,
    ),
    _key_index("id"),
    _AHEAD_INDEX,
)
_LARGE_SET_INDEX: Final = IndexModel(  # all that a reader wants to know of many of them
    [("large", ASCENDING), ("_id", ASCENDING), ("last_record", ASCENDING), ("last_id", ASCENDING)],
    name="large_sets",
    partialFilterExpression={"large": True},
    collation=SIMPLE,
)
_STATE_INDEXES: Final = (
    IndexModel(  # all that a reader wants to know of many of them
        [
            ("user", ASCENDING),
            ("last", ASCENDING),
            ("channel", ASCENDING),
            ("joined", ASCENDING),
            ("visible_from", ASCENDING),
        ],
        name="memberships",
        partialFilterExpression={"joined": {"$gt": LOWEST}},
        collation=SIMPLE,
    ),
    IndexModel(
        [("_id", ASCENDING), ("dissolved", ASCENDING)],
        name="dissolved",
        partialFilterExpression={"dissolved": {"$gt": LOWEST}},
        collation=SIMPLE,
    ),
)
_CONVERSATION_INDEXES: Final = (
    IndexModel(
        [("audience", ASCENDING), ("last_id", DESCENDING)],
        name="user_conversations",
        collation=SIMPLE,
    ),
)


async def bring_up(connection: MongoConnection, names: CollectionNames, *, upgrades: bool) -> str:
    """Make the indexes, or upgrade an older store; return the store's identity.

    From the first step to the last the store has the version to come, so that an older program
    refuses it, and says from which it comes. Steps, and parts of them, can be taken twice: one
    that was ended halfway is taken again, and two processes may take it at the same time.

    Args:
        upgrades: whether a store of any size is upgraded.

    Raises:
        StoreUnavailable: MongoDB does not answer.
        VersionTooNew: written by a newer program.
        ConfigurationError: it must be upgraded by ``chatsvc migrate``; it is not touched.
    """
    collection = connection.to_write(names.meta)
    meta = await _claim_meta(connection, collection)
    if int(meta["v"]) > len(STEPS):
        raise version_too_new("the store", meta["v"], len(STEPS))
    found = version_of(meta)
    if found == len(STEPS):
        await _make_latest_indexes(connection, names)
        return str(meta["identity"])
    # Where its own document was lost, what else is there says that it is no fresh store.
    old = found > 0 or await _has_conversations(connection, names)
    if old:
        if not upgrades:
            await _check_size(connection, names, found)
        begun = {"$set": {"v": len(STEPS), "upgraded_from": found}}
        this = STORE | {"v": meta["v"]}
        await connection.write(lambda: collection.update_one(this, begun, collation=SIMPLE))
    for step in STEPS[found:]:
        await step(connection, names, old)
    done = {"$set": {"v": len(STEPS)}, "$unset": {"upgraded_from": ""}}
    mine = STORE | {"v": {"$lte": len(STEPS)}}  # a newer program may have begun another
    await connection.write(lambda: collection.update_one(mine, done, collation=SIMPLE))
    return str(meta["identity"])


def version_of(meta: Document) -> int:
    """The version of a store by its own document; of one that is partly upgraded, the older."""
    return int(meta["upgraded_from"] if "upgraded_from" in meta else meta["v"])


async def _has_conversations(connection: MongoConnection, names: CollectionNames) -> bool:
    conversations = connection.to_write(names.conversations)
    found = await connection.write(lambda: conversations.find_one({}, {"_id": 1}, collation=SIMPLE))
    return found is not None


async def _check_size(connection: MongoConnection, names: CollectionNames, found: int) -> None:
    messages = connection.to_write(names.messages)
    bound = store_versions.UPGRADED_AT_OPEN
    count = await connection.write(
        lambda: messages.count_documents({}, limit=bound + 1, collation=SIMPLE)
    )
    if count > bound:
        raise store_versions.must_be_migrated(found, len(STEPS))


async def _claim_meta(connection: MongoConnection, meta: Collection) -> Document:
    """The one document of version and identity, made by whoever is first."""
    fresh = {"$setOnInsert": {"v": 0, "identity": secrets.token_hex(16)}}
    try:
        found = await connection.attempt(
            lambda: meta.find_one_and_update(
                STORE,
                fresh,
                upsert=True,
                return_document=ReturnDocument.AFTER,
                collation=SIMPLE,
            )
        )
    except DuplicateKeyError:  # another was first, in the same moment
        return await _meta_document(connection, meta)
    except PyMongoError as exc:
        raise unavailable(exc) from cause_of(exc)
    return dict(found)


async def _meta_document(connection: MongoConnection, meta: Collection) -> Document:
    found = await connection.write(lambda: meta.find_one(STORE, collation=SIMPLE))
    if found is None:
        raise StoreUnavailable("the store's own document is missing")
    return found


async def _make_indexes(connection: MongoConnection, names: CollectionNames, _: bool) -> None:
    await _create(connection, names.messages, _MESSAGE_INDEXES)
    await _create(connection, names.conversations, _CONVERSATION_INDEXES)


async def _keep_client_ids(connection: MongoConnection, names: CollectionNames, _: bool) -> None:
    await _create(connection, names.messages, [_AHEAD_INDEX])
    await _create(connection, names.dead_letters, [_KEY_INDEX, _AHEAD_INDEX])
    await MongoDeadLetters(connection, names).fill_keys()


async def _keep_large_sets_by_conversation(
    connection: MongoConnection, names: CollectionNames, old: bool
) -> None:
    await _create(connection, names.messages, [_INBOX_INDEX])
    await _create(connection, names.changes, _CHANGE_INDEXES)
    await _create(connection, names.conversations, [_LARGE_SET_INDEX])
    await _make_latest_indexes(connection, names)
    if old:
        await from_version_2.upgrade(connection, names)


async def _make_latest_indexes(connection: MongoConnection, names: CollectionNames) -> None:
    """At every opening: queries name one of them, and fail where it was dropped.

    A store of this version from before its release lacks the others.
    """
    await _create(connection, names.messages, [_members_index("_id"), *_request_indexes("_id")])
    await _create(connection, names.changes, [_members_index("id"), *_request_indexes("id")])
    await _create(connection, names.state, _STATE_INDEXES)
    await _create(connection, names.dead_letters, _request_indexes("_id"))


async def _create(connection: MongoConnection, name: str, indexes: Sequence[IndexModel]) -> None:
    collection = connection.to_write(name)
    await connection.write(lambda: collection.create_indexes(list(indexes)))


Step = Callable[[MongoConnection, CollectionNames, bool], Awaitable[None]]

STEPS: tuple[Step, ...] = (
    _make_indexes,
    _keep_client_ids,
    _keep_large_sets_by_conversation,
)
"""Step *n* (from 0) moves a store of version *n* to *n + 1*; each can be taken twice.

It is told whether there are documents of an older version: in a fresh store there are none.
"""
