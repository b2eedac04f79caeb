"""The groups and rooms of a user, with the intervals in which their records are the user's.

What a reader gets of them is decided by rows that were read after what is read by them: a batch
writes its rows before its records (:mod:`chatsvc.storage.mongo.writes`), so a membership that was
ended is known wherever a record behind its end is. Therefore the rows are read twice, first for
the names of the channels alone, and nothing is read above the ``last_record`` that was read in
between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from chatsvc.core.ids import format_id
from chatsvc.core.membership import Interval, interval_of
from chatsvc.storage.mongo.collections import LOWEST, CollectionNames
from chatsvc.storage.mongo.connection import SIMPLE, MongoConnection
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.mongo.large_sets import AT_ONCE, LargeSets, in_parts
from chatsvc.storage.mongo.state_documents import (
    INTERVAL_FIELDS,
    channel_id,
    memberships_of,
    to_member,
)


class MemberChannel(NamedTuple):
    """A group or room of a user.

    Its ids are those of a :class:`~chatsvc.storage.mongo.large_sets.LargeSet`.
    """

    channel: str
    last_id: int
    last_record: int
    intervals: tuple[Interval, ...]


class MemberChannels:
    """Reads what is known of them; see the module's text.

    Args:
        connection: the store's.
        names: of its collections.
        large_sets: who knows how far conversations go.
    """

    def __init__(
        self, connection: MongoConnection, names: CollectionNames, large_sets: LargeSets
    ) -> None:
        self._connection = connection
        self._state = connection.to_read(names.state)
        self._large_sets = large_sets

    async def of(self, user: str, *, after: int = 0) -> list[MemberChannel]:
        """Those of a user that may have a record for the user above an id, in no order.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        names = {one["channel"] for one in await self._memberships(user, after)}
        if not names:
            return []
        reaching = await self._large_sets.reaching(sorted(names), after=after)
        if not reaching:
            return []
        memberships, dissolved = await asyncio.gather(
            self._memberships(user, after), self._dissolved([one.channel for one in reaching])
        )
        intervals: dict[str, list[Interval]] = {}
        for document in memberships:
            channel = document["channel"]
            one = _interval(document, dissolved.get(channel, 0))
            if one is not None and one.last > after:
                intervals.setdefault(channel, []).append(one)
        return [
            MemberChannel(*one, tuple(intervals[one.channel]))
            for one in reaching
            if one.channel in intervals
        ]

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        """Every interval of a user in one channel, ascending.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        query = memberships_of(user, channel)
        # The _id is given back for the order, which is that of the joins.
        cursor = self._state.find(query, INTERVAL_FIELDS, collation=SIMPLE).sort("_id", 1)
        found, dissolved = await asyncio.gather(
            self._connection.read(lambda: cursor.to_list(None)), self._dissolved([channel])
        )
        every = [_interval(one | {"channel": channel}, dissolved.get(channel, 0)) for one in found]
        return [one for one in every if one is not None]

    async def _memberships(self, user: str, after: int) -> list[Document]:
        query = {
            "user": user,
            "joined": {"$gt": LOWEST},
            "last": {"$gt": format_id(max(after, 0))},
        }
        cursor = self._state.find(query, INTERVAL_FIELDS, collation=SIMPLE).batch_size(AT_ONCE)
        return await self._connection.read(lambda: cursor.to_list(None))

    async def _dissolved(self, channels: Sequence[str]) -> dict[str, int]:
        """The ids of the records that ended channels, of those that are ended."""
        found: dict[str, int] = {}
        for part in in_parts(channels):
            ended = {"_id": {"$in": [*map(channel_id, part)]}, "dissolved": {"$gt": LOWEST}}
            cursor = self._state.find(ended, {"dissolved": 1}, collation=SIMPLE)
            for one in await self._connection.read(lambda cursor=cursor: cursor.to_list(None)):  # type: ignore[misc]
                found[one["_id"][1:]] = int(one["dissolved"], 16)
        return found


def _interval(document: Document, dissolved: int) -> Interval | None:
    return interval_of(document["channel"], to_member(document), dissolved)
