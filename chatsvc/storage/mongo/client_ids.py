"""Client ids in MongoDB: of messages and of dead letters, found by their key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from chatsvc.core.ids import format_id, id_ms
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.mongo.collections import our_ids
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.reads import MongoReads
from chatsvc.storage.ports.client_ids import PastClientIds

KEY_INDEX: Final = IndexModel(  # the first of a key comes first, without a sort
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
AHEAD_INDEX: Final = IndexModel(
    [("minted_ahead_ms", ASCENDING)],
    name="minted_ahead",
    partialFilterExpression={"minted_ahead_ms": {"$exists": True}},
    collation=SIMPLE,
)


class MongoClientIds:
    """Looks into the collections of messages and of dead letters, with the reading client.

    Args:
        connection: the store's.
        collection: of the messages.
        reads: of the same collection.
    """

    def __init__(self, connection: MongoConnection, collection: str, reads: MongoReads) -> None:
        self._connection = connection
        self._reads = reads
        self._messages = connection.to_read(collection)
        self._dead_letters = connection.to_read(f"{collection}_dead_letters")

    async def find(
        self, key: tuple[str, str, str], *, after: int, dead_letters: bool
    ) -> tuple[int, bytes] | None:
        """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.find_client_id`."""
        # The letters first: what is replayed in between is then found among the messages.
        letter = await self._find_letter(key, after) if dead_letters else None
        stored = await self._reads.find_client_id(key, after)
        return min((one for one in (letter, stored) if one is not None), default=None)

    async def past(self, *, limit: int, since_ms: int) -> PastClientIds:
        """See :meth:`~chatsvc.storage.ports.client_ids.ClientIdReader.past_client_ids`."""
        newest_ms = id_ms(max(await self._newest_letter(), await self._reads.head()))
        bound = listed_above_ms(newest_ms, since_ms)
        latest: dict[str, int] = {}
        for place in (self._dead_letters, self._messages):
            for sender, minted_ms in await self._minted_after(place, bound, limit):
                latest[sender] = max(minted_ms, latest.get(sender, 0))
        ordered = sorted(latest.items(), key=lambda item: (-item[1], item[0]))
        return PastClientIds(newest_ms, ordered[:limit])

    async def _find_letter(self, key: tuple[str, str, str], after: int) -> tuple[int, bytes] | None:
        sender, channel, client_id = key
        above = our_ids(above=format_id(after))
        query = above | {"sender": sender, "channel": channel, "client_id": client_id}
        cursor = self._dead_letters.find(query, {"digest": 1}, collation=SIMPLE)
        first = cursor.sort("_id", ASCENDING).limit(1)
        found = await self._connection.read(lambda: first.to_list(None))
        return (int(found[0]["_id"], 16), bytes(found[0]["digest"])) if found else None

    async def _newest_letter(self) -> int:
        query = our_ids() | {"client_id": {"$exists": True}}
        cursor = self._dead_letters.find(query, {"_id": 1}, collation=SIMPLE)
        last = cursor.sort("_id", DESCENDING).limit(1)
        found = await self._connection.read(lambda: last.to_list(None))
        return int(found[0]["_id"], 16) if found else 0

    async def _minted_after(
        self, place: Collection, minted_ms: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        ours: Document = our_ids() | {"minted_ahead_ms": {"$gt": minted_ms}}
        cursor = place.aggregate(
            [
                {"$match": ours | {"sender": {"$type": "string"}}},
                {"$group": {"_id": "$sender", "latest": {"$max": "$minted_ahead_ms"}}},
                {"$sort": {"latest": -1}},
                {"$limit": limit},
            ],
            collation=SIMPLE,
        )
        found = await self._connection.read(lambda: cursor.to_list(None))
        return [(one["_id"], int(one["latest"])) for one in found]
