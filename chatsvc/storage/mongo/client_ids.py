"""Client ids in MongoDB: of records, requests in them, and dead letters, found by their key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from pymongo import ASCENDING

from chatsvc.core.ids import format_id, id_ms
from chatsvc.core.page import Bounds
from chatsvc.storage.client_ids import listed_above_ms
from chatsvc.storage.mongo.collections import newest_id, our_ids, our_messages
from chatsvc.storage.mongo.connection import SIMPLE, Collection
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.ports.client_ids import ClientIdAt, ClientIdReader, PastClientIds

Found = tuple[int, bytes] | None
_REQUEST_FIELDS: Final = ("requests.sender", "requests.client_id")


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
        found: list[Found] = []
        if dead_letters:
            found += await asyncio.gather(
                self._find_letter(key, after), self._find_letter_request(key, after)
            )
        finds = [self._find_record, self._find_request]
        found += await asyncio.gather(
            *(find(place, by, key, after) for place, by in self._places() for find in finds)
        )
        return min((one for one in found if one is not None), default=None)

    async def past_client_ids(self, *, limit: int, since_ms: int) -> PastClientIds:
        self._require_open()
        letter = 0
        for field in ("client_id", "requests"):
            letters = our_ids() | {field: {"$exists": True}}
            letter = max(letter, await newest_id(self._connection, self._read_letters, letters))
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
            for within in ("", "requests."):
                for sender, minted_ms in await self._minted_after(
                    place, ours, bound, limit, within
                ):
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
                    partial(_client_ids_at, by),
                    lambda _: 0,
                    fields=dict.fromkeys((by, "sender", "client_id", *_REQUEST_FIELDS), 1),
                )
                for place, by in self._places()
            )
        )
        # What is behind the last of a full part is not in this page either.
        records = sorted(chain.from_iterable(found), key=lambda one: one[0].id)[:limit]
        return list(chain.from_iterable(records))

    def _places(self) -> list[tuple[Collection, str]]:
        """The collections of records, each with the field that holds a record's id."""
        return [(self._read_messages, "_id"), (self._read_changes, "id")]

    async def _find_record(
        self, place: Collection, by: str, key: tuple[str, str, str], after: int
    ) -> Found:
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

    async def _find_request(
        self, place: Collection, by: str, key: tuple[str, str, str], after: int
    ) -> Found:
        """The same, of the requests that became a record."""
        found = await self._own.collect(
            place,
            _of_request(key),
            by,
            Bounds(1, after=after, newest=False),
            lambda document: (int(document[by], 16), _request_digest(document, key)),
            lambda _: 0,
            fields={by: 1, "requests": 1},
        )
        return found[0] if found else None

    async def _find_letter(self, key: tuple[str, str, str], after: int) -> Found:
        sender, channel, client_id = key
        query = {"sender": sender, "channel": channel, "client_id": client_id}
        found = await self._first_letter(query, "digest", after)
        return (int(found["_id"], 16), bytes(found["digest"])) if found else None

    async def _find_letter_request(self, key: tuple[str, str, str], after: int) -> Found:
        found = await self._first_letter(_of_request(key), "requests", after)
        return (int(found["_id"], 16), _request_digest(found, key)) if found else None

    async def _first_letter(self, query: Document, field: str, after: int) -> Document | None:
        query = our_ids(above=format_id(after)) | query
        cursor = self._read_letters.find(query, {field: 1}, collation=SIMPLE)
        first = cursor.sort("_id", ASCENDING).limit(1)
        found = await self._connection.read(lambda: first.to_list(None))
        return found[0] if found else None

    async def _minted_after(
        self, place: Collection, ours: Document, minted_ms: int, limit: int, within: str
    ) -> Sequence[tuple[str, int]]:
        """Senders with the latest; ``within`` is the path to where both stand: their document."""
        ahead: Document = {
            f"{within}minted_ahead_ms": {"$gt": minted_ms},
            f"{within}sender": {"$type": "string"},
        }
        each: list[Document] = []
        if within:
            each = [{"$unwind": f"${within[:-1]}"}, {"$match": ahead}]
        cursor = place.aggregate(
            [
                {"$match": ours | ahead},
                *each,
                {
                    "$group": {
                        "_id": f"${within}sender",
                        "latest": {"$max": f"${within}minted_ahead_ms"},
                    }
                },
                {"$sort": {"latest": -1}},
                {"$limit": limit},
            ],
            collation=SIMPLE,
        )
        found = await self._connection.read(lambda: cursor.to_list(None))
        return [(one["_id"], int(one["latest"])) for one in found]


def _of_request(key: tuple[str, str, str]) -> Document:
    """The condition that one of a document's requests has this key."""
    sender, channel, client_id = key
    # As one element: else the index would be searched by one of the two alone.
    return {
        "channel": channel,
        "requests": {"$elemMatch": {"client_id": client_id, "sender": sender}},
    }


def _request_digest(document: Document, key: tuple[str, str, str]) -> bytes:
    sender, _, client_id = key
    return next(
        bytes(one["digest"])
        for one in document["requests"]
        if (one["sender"], one["client_id"]) == (sender, client_id)
    )


def _client_ids_at(by: str, document: Document) -> list[ClientIdAt]:
    """What a record was sent under, and each of the requests that became it."""
    position = int(document[by], 16)
    sent = [(document["sender"], document.get("client_id"))]
    sent += [(one["sender"], one["client_id"]) for one in document.get("requests", ())]
    for sender, client_id in sent:
        if not isinstance(sender, str) or not isinstance(client_id, str | None):
            raise TypeError("not a record of chatsvc")
    return [ClientIdAt(position, *one) for one in sent]
