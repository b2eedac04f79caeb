"""Client ids in MongoDB: of messages and of dead letters, found by their key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from chatsvc.core.ids import id_ms
from chatsvc.log.key_bounds import AHEAD_MS
from chatsvc.storage.base import PastClientIds
from chatsvc.storage.mongo_connection import Collection, MongoConnection
from chatsvc.storage.mongo_documents import Document

KEY_INDEX: Final = IndexModel(  # the first of a key comes first, without a sort
    [
        ("sender", ASCENDING),
        ("channel", ASCENDING),
        ("client_id", ASCENDING),
        ("_id", ASCENDING),
    ],
    name="client_id",
    partialFilterExpression={"client_id": {"$exists": True}},
)
AHEAD_INDEX: Final = IndexModel(
    [("minted_ahead_ms", ASCENDING)],
    name="minted_ahead",
    partialFilterExpression={"minted_ahead_ms": {"$exists": True}},
)


class MongoClientIds:
    """Looks into the collections of messages and of dead letters, with the reading client."""

    def __init__(
        self, connection: MongoConnection, messages: Collection, dead_letters: Collection
    ) -> None:
        self._connection = connection
        self._messages = messages
        self._dead_letters = dead_letters

    async def find(
        self, sender: str, channel: str, client_id: str, *, put_aside: bool
    ) -> tuple[int, bytes] | None:
        """See :meth:`~chatsvc.storage.base.MessageStore.find_client_id`."""
        query = {"sender": sender, "channel": channel, "client_id": client_id}
        # The letters first: what is replayed in between is then found among the messages.
        places = (self._dead_letters, self._messages) if put_aside else (self._messages,)
        found = [one for place in places if (one := await self._first(place, query)) is not None]
        return min(found, default=None)

    async def past(self, *, limit: int) -> PastClientIds:
        """See :meth:`~chatsvc.storage.base.MessageStore.past_client_ids`."""
        with_key: Document = {"client_id": {"$exists": True}}
        newest = max(
            await self._newest(self._dead_letters, with_key),
            await self._newest(self._messages, {}),
        )
        bound = id_ms(newest) + AHEAD_MS if newest else 0
        latest: dict[str, int] = {}
        for place in (self._dead_letters, self._messages):
            for sender, minted_ms in await self._minted_after(place, bound, limit):
                latest[sender] = max(minted_ms, latest.get(sender, 0))
        ordered = sorted(latest.items(), key=lambda item: (-item[1], item[0]))
        return PastClientIds(newest, ordered[:limit])

    async def _first(self, place: Collection, query: Document) -> tuple[int, bytes] | None:
        cursor = place.find(query, {"digest": 1}).sort("_id", ASCENDING).limit(1)
        found = await self._connection.read(lambda: cursor.to_list(None))
        return (int(found[0]["_id"], 16), bytes(found[0]["digest"])) if found else None

    async def _newest(self, place: Collection, query: Document) -> int:
        cursor = place.find(query, {"_id": 1}).sort("_id", DESCENDING).limit(1)
        found = await self._connection.read(lambda: cursor.to_list(None))
        return int(found[0]["_id"], 16) if found else 0

    async def _minted_after(
        self, place: Collection, minted_ms: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        cursor = place.aggregate(
            [
                {"$match": {"minted_ahead_ms": {"$gt": minted_ms}}},
                {"$group": {"_id": "$sender", "latest": {"$max": "$minted_ahead_ms"}}},
                {"$sort": {"latest": -1}},
                {"$limit": limit},
            ]
        )
        found = await self._connection.read(lambda: cursor.to_list(None))
        return [(one["_id"], int(one["latest"])) for one in found]
