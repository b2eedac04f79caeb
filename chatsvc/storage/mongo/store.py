"""The MongoDB store.

Collections, by the name ``C`` of the messages': ``C`` itself, ``C_conversations``,
``C_dead_letters`` (with ``C_dead_letters_parts``) and ``C_meta``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from chatsvc.core.conversation import Conversation
from chatsvc.core.errors import StoreUnavailable, VersionTooNew
from chatsvc.core.ids import format_id, parse_id
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, Entry
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.bodies import Sameness, conflicting, partition_records, sameness
from chatsvc.storage.mongo.client_ids import AHEAD_INDEX, KEY_INDEX, MongoClientIds
from chatsvc.storage.mongo.collections import inspect, our_messages
from chatsvc.storage.mongo.connection import READS_AT_ONCE, SIMPLE, MongoConnection
from chatsvc.storage.mongo.dead_letters import MongoDeadLetters
from chatsvc.storage.mongo.documents import (
    Document,
    Encoded,
    encode,
)
from chatsvc.storage.mongo.errors import (
    CONTENT,
    DUPLICATE_KEY,
    cause_of,
    is_about_content,
    unavailable,
)
from chatsvc.storage.mongo.reads import MongoReads
from chatsvc.storage.ports.client_ids import ClientIdAt, PastClientIds
from chatsvc.storage.ports.conversations import Members
from chatsvc.storage.ports.lifecycle import Versions
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.messages import Rejection

_MESSAGE_INDEXES: Final = (
    IndexModel([("channel", ASCENDING), ("_id", ASCENDING)], name="channel_page", collation=SIMPLE),
    IndexModel([("audience", ASCENDING), ("rev", ASCENDING)], name="user_page", collation=SIMPLE),
    KEY_INDEX,
)
_CONVERSATION_INDEXES: Final = (
    IndexModel(
        [("audience", ASCENDING), ("last_id", DESCENDING)],
        name="user_conversations",
        collation=SIMPLE,
    ),
)


_PART: Final = 1000
"""Records that are encoded and inserted in one go."""


class MongoStore(MessageStore):
    """A :class:`~chatsvc.storage.ports.message_store.MessageStore` in MongoDB.

    Documents in the collections that are not chatsvc's are passed over.

    Args:
        uri, db, collection: where; the URI's own read and write concerns give way to
            majority, journaled, from the primary, and a collection's collation to none.
        read_seconds, write_seconds: the most a call of either kind takes.
        selection_seconds: the most that finding a server takes.

    Raises:
        ConfigurationError: the URI cannot be used; the text does not repeat it.
    """

    reads_at_once = READS_AT_ONCE

    def __init__(
        self,
        uri: str,
        db: str,
        collection: str,
        *,
        read_seconds: float = 4.0,
        write_seconds: float = 20.0,
        selection_seconds: float = 2.0,
    ) -> None:
        connection = MongoConnection(
            uri,
            db,
            collection,
            read_seconds=read_seconds,
            write_seconds=write_seconds,
            selection_seconds=selection_seconds,
        )
        self._connection = connection
        self._messages = connection.to_write(collection)
        self._conversations = connection.to_write(f"{collection}_conversations")
        self._meta = connection.to_write(f"{collection}_meta")
        self._reads = MongoReads(connection, collection)
        self._read_meta = connection.to_read(f"{collection}_meta")
        self.dead_letters = self._letters = MongoDeadLetters(
            connection, f"{collection}_dead_letters"
        )
        self._client_ids = MongoClientIds(connection, collection, self._reads)
        self._identity: str | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._opening:
            if self._identity is not None:
                return
            await inspect(self._connection, self._messages, [self._conversations, self._meta])
            meta = await self._claim_meta()
            found = int(meta["v"])
            if found > len(STEPS):
                raise VersionTooNew(
                    f"the store has version {found}; this program knows up to {len(STEPS)}: "
                    "run the version that wrote it, or a newer one"
                )
            # Steps can be taken twice: two gateways may start at the same time.
            for step in STEPS[found:]:
                await step(self)
            if found < len(STEPS):
                newer = {"$max": {"v": len(STEPS)}}
                await self._connection.write(
                    lambda: self._meta.update_one(_STORE, newer, collation=SIMPLE)
                )
            self._identity = str(meta["identity"])

    async def versions(self) -> Versions:
        meta = await self._connection.read(
            lambda: self._read_meta.find_one(_STORE, collation=SIMPLE)
        )
        return Versions(int(meta["v"]) if meta else 0, len(STEPS))

    async def identity(self) -> str:
        self._require_open()
        meta = await self._connection.read(
            lambda: self._read_meta.find_one(_STORE, collation=SIMPLE)
        )
        if meta is None or str(meta["identity"]) != self._identity:
            self._identity = None  # its indexes and its version have to be looked at
            raise StoreUnavailable("another database is in the place of the one that was opened")
        return self._identity

    async def watermark(self) -> Mark | None:
        self._require_open()
        found = await self._connection.read(
            lambda: self._read_meta.find_one(_WATERMARK, collation=SIMPLE)
        )
        if found is None:
            return None
        lost = tuple(map(parse_id, found["lost"]))
        return Mark(
            parse_id(found["value"]),
            int(found["generation"]),
            str(found["epoch"]),
            (lost[0], lost[1]) if lost else None,
            str(found["content"]),
            parse_id(found["window_start"]),
        )

    async def set_watermark(self, expected: Mark | None, new: Mark) -> bool:
        self._require_open()
        if expected is None:
            first = {**_WATERMARK, **_mark_document(new)}
            try:
                await self._connection.attempt(lambda: self._meta.insert_one(first))
            except DuplicateKeyError:
                return False
            except PyMongoError as exc:
                raise unavailable(exc) from cause_of(exc)
            return True
        found = {**_WATERMARK, **_mark_document(expected)}
        change = {"$set": _mark_document(new)}
        done = await self._connection.write(
            lambda: self._meta.update_one(found, change, collation=SIMPLE)
        )
        return bool(done.matched_count)

    async def head(self) -> int:
        self._require_open()
        return await self._reads.head()

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._require_open()
        if not records:
            return []
        newest: dict[str, Encoded] = {}
        rejections: list[Rejection] = []
        parts = [records[at : at + _PART] for at in range(0, len(records), _PART)]
        encoding = asyncio.ensure_future(asyncio.to_thread(_encode_all, parts[0]))
        try:
            for following in [*parts[1:], None]:
                encoded, unfit = await encoding
                if following is not None:
                    # While MongoDB takes these in, the next become documents.
                    encoding = asyncio.ensure_future(asyncio.to_thread(_encode_all, following))
                refused = await self._insert(encoded)
                rejections += [*unfit, *refused]
                ids = {rejection.record.id for rejection in refused}
                newest |= {o.record.channel: o for o in encoded if o.record.id not in ids}
        finally:
            await asyncio.wait([encoding])
        # Only after the messages: a conversation never tells of what is not there.
        await self._update_conversations(list(newest.values()))
        return rejections

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        self._require_open()
        return await self._reads.channel_page(channel, bounds)

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        self._require_open()
        return await self._reads.user_page(user, bounds)

    async def count_user(self, user: str, bounds: Bounds) -> int:
        self._require_open()
        return await self._reads.count_user(user, bounds)

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        self._require_open()
        bounds = Bounds(limit, before=before, max_bytes=max_bytes)
        return await self._reads.conversations(user, bounds)

    async def members(self, user: str, channel: str) -> Members | None:
        self._require_open()
        return await self._reads.members(user, channel)

    async def get(self, message_id: int) -> Entry | None:
        self._require_open()
        return await self._reads.get(message_id)

    async def find_client_id(
        self,
        sender: str,
        channel: str,
        client_id: str,
        *,
        after: int = 0,
        dead_letters: bool = True,
    ) -> tuple[int, bytes] | None:
        self._require_open()
        key = sender, channel, client_id
        return await self._client_ids.find(key, after=after, dead_letters=dead_letters)

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        self._require_open()
        return await self._client_ids.past(limit=limit, since_ms=since_ms)

    async def client_ids_above(self, after: int, limit: int) -> Sequence[ClientIdAt]:
        self._require_open()
        return await self._reads.client_ids_above(after, limit)

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        self._require_open()
        query = our_messages(below=format_id(before_id))
        cursor = self._messages.find(query, {"channel": 1}, collation=SIMPLE)
        oldest = cursor.sort("_id", ASCENDING).limit(limit)
        old = await self._connection.write(lambda: oldest.to_list(None))
        if not old:
            return 0
        ids = [document["_id"] for document in old]
        channels = list({document.get("channel") for document in old})
        # First the conversations: left behind, one would never be found again.
        ended = {"_id": {"$in": channels}, "last_id": {"$in": ids}}
        await self._connection.write(
            lambda: self._conversations.delete_many(ended, collation=SIMPLE)
        )
        selected = {"_id": {"$in": ids}}
        deleted = await self._connection.write(
            lambda: self._messages.delete_many(selected, collation=SIMPLE)
        )
        return int(deleted.deleted_count)

    async def ping(self) -> None:
        await self._connection.ping()

    async def close(self) -> None:
        self._identity = None
        self._connection.close()

    async def _make_indexes(self) -> None:
        for collection, indexes in (
            (self._messages, _MESSAGE_INDEXES),
            (self._conversations, _CONVERSATION_INDEXES),
        ):
            await self._create_indexes(collection, indexes)

    async def _keep_client_ids(self) -> None:
        await self._create_indexes(self._messages, [AHEAD_INDEX])
        await self._letters.index([KEY_INDEX, AHEAD_INDEX])
        await self._letters.fill_keys()

    async def _create_indexes(self, collection: Any, indexes: Sequence[IndexModel]) -> None:
        await self._connection.write(lambda: collection.create_indexes(list(indexes)))

    async def _claim_meta(self) -> Document:
        """The one document of version and identity, made by whoever is first."""
        fresh = {"$setOnInsert": {"v": 0, "identity": secrets.token_hex(16)}}
        try:
            found = await self._connection.attempt(
                lambda: self._meta.find_one_and_update(
                    _STORE,
                    fresh,
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                    collation=SIMPLE,
                )
            )
        except DuplicateKeyError:  # another was first, in the same moment
            return await self._meta_document()
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)
        return dict(found)

    async def _meta_document(self) -> Document:
        found = await self._connection.write(lambda: self._meta.find_one(_STORE, collation=SIMPLE))
        if found is None:
            raise StoreUnavailable("the store's own document is missing")
        return found

    async def _insert(self, encoded: Sequence[Encoded]) -> list[Rejection]:
        """All that can go in, does; what cannot is told apart document by document."""
        if not encoded:
            return []
        documents = [one.document for one in encoded]
        try:
            await self._connection.attempt(
                lambda: self._messages.insert_many(documents, ordered=False)
            )
        except BulkWriteError as exc:
            return await self._sort_out(encoded, exc)
        except PyMongoError as exc:
            if not is_about_content(exc):
                raise unavailable(exc) from cause_of(exc)
            if len(encoded) == 1:
                return await self._blame(encoded[0], exc)
        else:
            return []
        middle = len(encoded) // 2
        return await self._insert(encoded[:middle]) + await self._insert(encoded[middle:])

    async def _blame(self, one: Encoded, exc: PyMongoError) -> list[Rejection]:
        # A server that refuses every write the same way is at fault, not the document.
        # (``BadValue`` is also what one without a journal answers to ``j: true``.)
        control = {"_id": "control"}
        change = {"$set": {"last": one.record.channel}}
        await self._connection.write(
            lambda: self._meta.update_one(control, change, upsert=True, collation=SIMPLE)
        )
        error = getattr(exc, "details", None) or {}
        return [Rejection(one.record, f"mongodb_{getattr(exc, 'code', 0)}", _reason(error))]

    async def _sort_out(self, encoded: Sequence[Encoded], exc: BulkWriteError) -> list[Rejection]:
        details = exc.details or {}
        if details.get("writeConcernErrors"):
            raise unavailable(exc) from None
        duplicates: list[Record] = []
        rejections: list[Rejection] = []
        for error in details.get("writeErrors", ()):
            record = encoded[error["index"]].record
            if error.get("code") == DUPLICATE_KEY:
                duplicates.append(record)
            elif error.get("code") in CONTENT:
                code = f"mongodb_{error['code']}"
                rejections.append(Rejection(record, code, _reason(error)))
            else:
                raise unavailable(exc) from None
        # With majority, the server has waited for what these ids were first written with.
        return rejections + await self._judge_duplicates(duplicates)

    async def _judge_duplicates(self, records: Sequence[Record]) -> list[Rejection]:
        if not records:
            return []
        query = {"_id": {"$in": [format_id(record.id) for record in records]}}
        held = await self._connection.write(
            lambda: self._messages.find(query, _SAMENESS, collation=SIMPLE).to_list(None)
        )
        # A document without a digest is somebody else's, under an id of ours.
        known = {
            int(document["_id"], 16): Sameness(
                bytes(document.get("digest", b"")),
                document.get("channel", ""),
                document.get("sender", ""),
                document.get("client_id"),
            )
            for document in held
        }
        rejections: list[Rejection] = []
        for record in records:
            if record.id not in known:
                reason = "a unique index that is not chatsvc's refuses it"
                rejections.append(Rejection(record, "duplicate_key", reason))
            elif known[record.id] != sameness(record):
                rejections.append(conflicting(record))
        return rejections

    async def _update_conversations(self, changes: Sequence[Encoded]) -> None:
        if not changes:
            return
        updates = [_conversation_update(one, upsert=True) for one in changes]
        try:
            await self._connection.attempt(
                lambda: self._conversations.bulk_write(updates, ordered=False)
            )
        except BulkWriteError as exc:
            details = exc.details or {}
            errors = details.get("writeErrors", ())
            if details.get("writeConcernErrors") or any(
                error.get("code") != DUPLICATE_KEY for error in errors
            ):
                raise unavailable(exc) from None
            # Either a newer message is there already, or another writer made the document
            # in between: once it exists, the same update without upsert tells them apart.
            again = [
                _conversation_update(changes[error["index"]], upsert=False) for error in errors
            ]
            await self._connection.write(
                lambda: self._conversations.bulk_write(again, ordered=False)
            )
        except PyMongoError as exc:
            raise unavailable(exc) from cause_of(exc)

    def _require_open(self) -> None:
        if self._identity is None:
            raise StoreUnavailable("the store is not open yet")


_SAMENESS: Final = dict.fromkeys(Sameness._fields, 1)
_STORE: Final = {"_id": "store"}
_WATERMARK: Final = {"_id": "watermark"}

STEPS: tuple[Callable[[MongoStore], Awaitable[None]], ...] = (
    MongoStore._make_indexes,
    MongoStore._keep_client_ids,
)
"""Step *n* (from 0) moves a store of version *n* to *n + 1*; each can be taken twice."""


def _encode_all(records: Sequence[Record]) -> tuple[list[Encoded], list[Rejection]]:
    decoded, rejections = partition_records(records)
    encoded: list[Encoded] = []
    for one in decoded:
        result = encode(one)
        if isinstance(result, Encoded):
            encoded.append(result)
        else:
            rejections.append(result)
    return encoded, rejections


def _conversation_update(one: Encoded, *, upsert: bool) -> UpdateOne:
    position = format_id(one.record.id)
    return UpdateOne(
        {"_id": one.record.channel, "last_id": {"$lt": position}},
        {
            "$set": {
                "participants": one.participants,
                "audience": list(one.record.audience),
                "last_id": position,
                "last_message": one.document,
            }
        },
        upsert=upsert,
        collation=SIMPLE,
    )


def _mark_document(mark: Mark) -> Document:
    return {
        "value": format_id(mark.position),
        "generation": mark.generation,
        "epoch": mark.epoch,
        "lost": [format_id(position) for position in mark.lost or ()],
        "content": mark.content,
        "window_start": format_id(mark.window_start),
    }


def _reason(error: Mapping[str, Any]) -> str:
    """The code's name; the server's message may quote the document."""
    name = error.get("codeName")
    return f"MongoDB refuses it: {name}" if name else "MongoDB refuses it"
