"""Client ids in MongoDB: of messages and of dead letters, found by their key."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING

from chatsvc.core.ids import format_id, id_ms
from chatsvc.core.page import Bounds
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.mongo.collections import newest_id, our_ids, our_messages
from chatsvc.storage.mongo.connection import SIMPLE, Collection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader, PastClientIds


class MongoClientIds(MongoDatabase, ClientIdReader):
    """Looks into the collections of messages and of dead letters."""

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
        # The letters first: what is replayed in between is then found among the messages.
        letter = await self._find_letter(key, after) if dead_letters else None
        stored = await self._find_message(key, after)
        return min((one for one in (letter, stored) if one is not None), default=None)

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        self._require_open()
        letters = our_ids() | {"client_id": {"$exists": True}}
        letter = await newest_id(self._connection, self._read_letters, letters)
        message = await newest_id(self._connection, self._read_messages, our_messages())
        newest_ms = id_ms(max(letter, message))
        bound = listed_above_ms(newest_ms, since_ms)
        latest: dict[str, int] = {}
        for place in (self._read_letters, self._read_messages):
            for sender, minted_ms in await self._minted_after(place, bound, limit):
                latest[sender] = max(minted_ms, latest.get(sender, 0))
        ordered = sorted(latest.items(), key=lambda item: (-item[1], item[0]))
        return PastClientIds(newest_ms, ordered[:limit])

    async def client_ids_above(self, after: int, limit: int) -> list[ClientIdAt]:
        self._require_open()
        return await self._own.collect(
            self._read_messages,
            {},
            "_id",
            Bounds(limit, after=after, newest=False),
            _client_id_at,
            lambda _: 0,
            fields={"sender": 1, "client_id": 1},
        )

    async def _find_message(
        self, key: tuple[str, str, str], after: int
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first message under this key, above an id."""
        sender, channel, client_id = key
        found = await self._own.collect(
            self._read_messages,
            {"sender": sender, "channel": channel, "client_id": client_id},
            "_id",
            Bounds(1, after=after, newest=False),
            lambda document: (int(document["_id"], 16), bytes(document["digest"])),
            lambda _: 0,
        )
        return found[0] if found else None

    async def _find_letter(self, key: tuple[str, str, str], after: int) -> tuple[int, bytes] | None:
        sender, channel, client_id = key
        above = our_ids(above=format_id(after))
        query = above | {"sender": sender, "channel": channel, "client_id": client_id}
        cursor = self._read_letters.find(query, {"digest": 1}, collation=SIMPLE)
        first = cursor.sort("_id", ASCENDING).limit(1)
        found = await self._connection.read(lambda: first.to_list(None))
        return (int(found[0]["_id"], 16), bytes(found[0]["digest"])) if found else None

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


def _client_id_at(document: Document) -> ClientIdAt:
    sender, client_id = document["sender"], document.get("client_id")
    if not isinstance(sender, str) or not isinstance(client_id, str | None):
        raise TypeError("not a message of chatsvc")
    return ClientIdAt(int(document["_id"], 16), sender, client_id)
