"""The indexes and documents of the store, their version, and the way from each to the next."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.storage.mongo.collections import CollectionNames
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.dead_letters import MongoDeadLetters
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.errors import cause_of, unavailable

STORE: Final = {"_id": "store"}
"""The document of version and identity, in the collection ``meta``."""

_KEY_INDEX: Final = IndexModel(  # the first of a key comes first, without a sort
    [
        ("sender", ASCENDING),
        ("channel", ASCENDING),
        ("client_id", ASCENDING),
        ("_id", ASCENDING),
    ],
    name="client_id",
    partialFilterExpression={"client_id": {"$exists": True}},
    collation=SIMPLE,
)
_AHEAD_INDEX: Final = IndexModel(
    [("minted_ahead_ms", ASCENDING)],
    name="minted_ahead",
    partialFilterExpression={"minted_ahead_ms": {"$exists": True}},
    collation=SIMPLE,
)
_MESSAGE_INDEXES: Final = (
    IndexModel([("channel", ASCENDING), ("_id", ASCENDING)], name="channel_page", collation=SIMPLE),
    IndexModel([("audience", ASCENDING), ("rev", ASCENDING)], name="user_page", collation=SIMPLE),
    _KEY_INDEX,
)
_CONVERSATION_INDEXES: Final = (
    IndexModel(
        [("audience", ASCENDING), ("last_id", DESCENDING)],
        name="user_conversations",
        collation=SIMPLE,
    ),
)


async def bring_up(connection: MongoConnection, names: CollectionNames) -> str:
    """Make the indexes, or move an older store forward; return the store's identity.

    Raises:
        StoreUnavailable: MongoDB does not answer.
        VersionTooNew: written by a newer program.
    """
    collection = connection.to_write(names.meta)
    meta = await _claim_meta(connection, collection)
    found = int(meta["v"])
    if found > len(STEPS):
        raise VersionTooNew(
            f"the store has version {found}; this program knows up to {len(STEPS)}: "
            "run the version that wrote it, or a newer one"
        )
    # Steps can be taken twice: two gateways may start at the same time.
    for step in STEPS[found:]:
        await step(connection, names)
    if found < len(STEPS):
        newer = {"$max": {"v": len(STEPS)}}
        await connection.write(lambda: collection.update_one(STORE, newer, collation=SIMPLE))
    return str(meta["identity"])


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


async def _make_indexes(connection: MongoConnection, names: CollectionNames) -> None:
    await _create(connection, names.messages, _MESSAGE_INDEXES)
    await _create(connection, names.conversations, _CONVERSATION_INDEXES)


async def _keep_client_ids(connection: MongoConnection, names: CollectionNames) -> None:
    await _create(connection, names.messages, [_AHEAD_INDEX])
    await _create(connection, names.dead_letters, [_KEY_INDEX, _AHEAD_INDEX])
    await MongoDeadLetters(connection, names).fill_keys()


async def _create(connection: MongoConnection, name: str, indexes: Sequence[IndexModel]) -> None:
    collection = connection.to_write(name)
    await connection.write(lambda: collection.create_indexes(list(indexes)))


Step = Callable[[MongoConnection, CollectionNames], Awaitable[None]]

STEPS: tuple[Step, ...] = (_make_indexes, _keep_client_ids)
"""Step *n* (from 0) moves a store of version *n* to *n + 1*; each can be taken twice."""
