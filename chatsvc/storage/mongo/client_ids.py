"""Client ids in MongoDB: of records and of dead letters, found by their key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import chain
from operator import attrgetter

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
    """Looks into the collections of messages, of changes and of dead letters."""

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
        # The letters first: what is replayed in between is then found among the records.
        found = [await self._find_letter(key, after)] if dead_letters else []
        found += await asyncio.gather(
            *(self._find_record(place, by, key, after) for place, by in self._places())
        )
        return min((one for one in found if one is not None), default=None)

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        self._require_open()
        letters = our_ids() | {"client_id": {"$exists": True}}
        letter = await newest_id(self._connection, self._read_letters, letters)
        message = await newest_id(self._connection, self._read_messages, our_messages())
        change = await newest_id(self._connection, self._read_changes, {}, by="id")
        newest_ms = id_ms(max(letter, message, change))
        bound = listed_above_ms(newest_ms, since_ms)
        latest: dict[str, int] = {}
        for place, ours in (
            (self._read_letters, our_ids()),
            (self._read_messages, our_ids()),
            (self._read_changes, {}),
        ):
            for sender, minted_ms in await self._minted_after(place, ours, bound, limit):
                latest[sender] = max(minted_ms, latest.get(sender, 0))
        ordered = sorted(latest.items(), key=lambda item: (-item[1], item[0]))
        return PastClientIds(newest_ms, ordered[:limit])

    async def client_ids_above(self, after: int, limit: int) -> list[ClientIdAt]:
        self._require_open()
        bounds = Bounds(limit, after=after, newest=False)
        found = await asyncio.gather(
            *(
                self._own.collect(
                    place,
                    {},
                    by,
                    bounds,
                    partial(_client_id_at, by),
                    lambda _: 0,
                    fields={by: 1, "sender": 1, "client_id": 1},
                )
                for place, by in self._places()
            )
        )
        # What is behind the last of a full part is not in this page either.
        return sorted(chain.from_iterable(found), key=attrgetter("id"))[:limit]

    def _places(self) -> list[tuple[Collection, str]]:
        """The collections of records, each with the field that holds a record's id."""
        return [(self._read_messages, "_id"), (self._read_changes, "id")]

    async def _find_record(
        self, place: Collection, by: str, key: tuple[str, str, str], after: int
    ) -> tuple[int, bytes] | None:
        """Id and digest of the first record under this key in a collection, above an id."""
        sender, channel, client_id = key
        found = await self._own.collect(
            place,
            {"sender": sender, "channel": channel, "client_id": client_id},
            by,
            Bounds(1, after=after, newest=False),
            lambda document: (int(document[by], 16), bytes(document["digest"])),
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
        self, place: Collection, ours: Document, minted_ms: int, limit: int
    ) -> Sequence[tuple[str, int]]:
        ahead = ours | {"minted_ahead_ms": {"$gt": minted_ms}}
        cursor = place.aggregate(
            [
                {"$match": ahead | {"sender": {"$type": "string"}}},
                {"$group": {"_id": "$sender", "latest": {"$max": "$minted_ahead_ms"}}},
                {"$sort": {"latest": -1}},
                {"$limit": limit},
            ],
            collation=SIMPLE,
        )
        found = await self._connection.read(lambda: cursor.to_list(None))
        return [(one["_id"], int(one["latest"])) for one in found]


def _client_id_at(by: str, document: Document) -> ClientIdAt:
    sender, client_id = document["sender"], document.get("client_id")
    if not isinstance(sender, str) or not isinstance(client_id, str | None):
        raise TypeError("not a record of chatsvc")
    return ClientIdAt(int(document[by], 16), sender, client_id)
