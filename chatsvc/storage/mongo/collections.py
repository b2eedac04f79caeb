"""What is found in the place of the collections, looked at when the store is opened.

Documents of others are passed over; what would make the collections lose or mix up messages is
refused before the first write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import structlog
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure

from chatsvc.core.errors import ConfigurationError
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document

LOWEST: Final = "0" * 16
HIGHEST: Final = "f" * 16

MEMBERS_INDEX: Final = "members"
"""The name of an index that queries name: of records that are for all members of a channel."""


class CollectionNames(NamedTuple):
    """The collections of a store; what is not the messages' is named after it."""

    messages: str
    changes: str
    conversations: str
    members: str
    state: str
    dead_letters: str
    dead_letter_parts: str
    meta: str

    @classmethod
    def of(cls, messages: str) -> CollectionNames:
        """Return the names that go with that of the messages' collection."""
        letters = f"{messages}_dead_letters"
        return cls(
            messages=messages,
            changes=f"{messages}_changes",
            conversations=f"{messages}_conversations",
            members=f"{messages}_members",
            state=f"{messages}_state",
            dead_letters=letters,
            dead_letter_parts=f"{letters}_parts",
            meta=f"{messages}_meta",
        )


_ID = re.compile(r"[0-9a-f]{16}\Z")
_UNAUTHORIZED: Final = 13
_NOT_FOUND: Final = 26

_logger = structlog.get_logger("chatsvc.store")


def our_ids(*, above: str | None = None, below: str | None = None) -> Document:
    """The condition that ``_id`` is a message id of ours, between two of them, both exclusive.

    A range of strings: other types never match, and the index is walked no further.
    """
    low = {"$gte": LOWEST} if above is None else {"$gt": above}
    high = {"$lte": HIGHEST} if below is None else {"$lt": below}
    return {"_id": low | high, "$and": [{"_id": {"$regex": "^[0-9a-f]{16}$"}}]}


def our_messages(*, below: str | None = None) -> Document:
    """The same, for messages of ours among whatever else has such ids."""
    return our_ids(below=below) | {"rev": {"$type": "string"}}


async def newest_id(
    connection: MongoConnection, collection: Collection, query: Document, by: str = "_id"
) -> int:
    """The highest id among the documents that match, 0 if there is none.

    Args:
        query: a condition that holds :func:`our_ids` where the collection may be shared.
        by: the field that holds the id.
    """
    cursor = collection.find(query, {by: 1}, collation=SIMPLE).sort(by, DESCENDING).limit(1)
    found = await connection.read(lambda: cursor.to_list(None))
    return int(found[0][by], 16) if found else 0


async def inspect(
    connection: MongoConnection, messages: Collection, others: Sequence[Collection]
) -> None:
    """Look at the collections, those that are there.

    Args:
        messages: the one that an operator named, and may share with others.
        others: named after it, keyed by user ids and channels.

    Raises:
        ConfigurationError: one line that names the collection and what is wrong with it.
        StoreUnavailable: MongoDB does not answer.
    """
    everything = [messages, *others]
    found = await _listed(connection, everything)
    for collection in everything:
        described = found.get(collection.name)
        if described is not None:
            _check_kind(collection, described, shared=collection is messages)
    if messages.name in found:
        await _warn_of_foreign_documents(connection, messages)
        await _warn_of_unique_indexes(connection, messages)


async def _listed(
    connection: MongoConnection, collections: Sequence[Collection]
) -> dict[str, Document]:
    """Type and options by name."""
    names = [collection.name for collection in collections]
    database = collections[0].database
    reply = await _allowed(connection, lambda: database.command(
        "listCollections", filter={"name": {"$in": names}}
    ))  # fmt: skip
    return {one["name"]: one for one in _first_batch(reply)}


def _check_kind(collection: Collection, described: Document, *, shared: bool) -> None:
    kind = described.get("type", "collection")
    options = described.get("options") or {}
    name = collection.full_name
    if kind != "collection":
        raise ConfigurationError(f"MONGO_COLLECTION: {name} is a {kind}: name a collection")
    if options.get("capped"):
        raise ConfigurationError(
            f"MONGO_COLLECTION: {name} is capped and would drop messages: name another"
        )
    locale = (options.get("collation") or {}).get("locale", "simple")
    if locale == "simple":
        return
    if not shared:
        # Its index of _id compares by the collation: Alice and alice would be one.
        raise ConfigurationError(
            f"MONGO_COLLECTION: {name} was made with the collation {locale}, which takes "
            "different user ids for one: make it anew without"
        )
    _logger.warning(
        "collection_with_collation",
        collection=name,
        locale=locale,
        meaning="its index of _id cannot be used to find messages by id: make it anew without",
    )


async def _warn_of_foreign_documents(connection: MongoConnection, messages: Collection) -> None:
    """A look at both ends of an index: BSON orders numbers, strings, then the rest."""
    for order in (DESCENDING, ASCENDING):
        cursor = messages.find({}, {"_id": 1}, collation=SIMPLE).sort("_id", order).limit(1)
        for document in await connection.write(lambda cursor=cursor: cursor.to_list(None)):  # type: ignore[misc]
            if not is_our_id(document["_id"]):
                _logger.warning(
                    "foreign_documents",
                    collection=messages.full_name,
                    id_type=type(document["_id"]).__name__,
                    meaning="documents that are not chatsvc's are passed over",
                )
                return


async def _warn_of_unique_indexes(connection: MongoConnection, messages: Collection) -> None:
    reply = await _allowed(
        connection, lambda: messages.database.command("listIndexes", messages.name)
    )
    for index in _first_batch(reply):
        if index.get("unique") and index["name"] != "_id_":
            _logger.warning(
                "foreign_unique_index",
                collection=messages.full_name,
                index=index["name"],
                meaning="messages that it refuses become dead letters",
            )


async def _allowed(connection: MongoConnection, call: Any) -> Document | None:
    """The answer, or ``None`` where this user may not ask, or there is nothing."""

    async def ask() -> Document | None:
        try:
            return dict(await call())
        except OperationFailure as exc:
            if exc.code in (_UNAUTHORIZED, _NOT_FOUND):
                _logger.debug("collections_not_inspected", code=exc.code)
                return None
            raise

    return await connection.write(ask)


def _first_batch(reply: Document | None) -> list[Document]:
    return list(reply["cursor"]["firstBatch"]) if reply is not None else []


def is_our_id(value: object) -> bool:
    """Whether this is an id as chatsvc writes them."""
    return isinstance(value, str) and _ID.match(value) is not None
