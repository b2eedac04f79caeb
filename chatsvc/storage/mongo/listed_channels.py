"""The groups and rooms of a user as they are listed: by the newest message that is the user's.

For whoever is a member that is the channel's newest, whose id its conversation has. For who was
one it is looked for in the channel itself, a query each. So the channels are looked at in the
order of the highest id that each may be listed by, and no further than a list goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from pymongo import DESCENDING

from chatsvc.core.conversation import Conversation
from chatsvc.core.ids import format_id
from chatsvc.storage.mongo.collections import MEMBERS_INDEX
from chatsvc.storage.mongo.connection import SIMPLE, Collection, MongoConnection
from chatsvc.storage.mongo.documents import Document, to_body
from chatsvc.storage.mongo.large_sets import in_parts
from chatsvc.storage.mongo.member_channels import MemberChannel
from chatsvc.storage.mongo.own_documents import OwnDocuments
from chatsvc.storage.mongo.ranges import Range, within_ranges

_LOOKED_FOR_AT_ONCE: Final = 4


class ListedChannel(NamedTuple):
    """A channel, and where the message is that it is listed by.

    ``last_id`` is that message's id, or, where ``ranges`` are given, no lower than it.
    """

    channel: str
    last_id: int
    ranges: tuple[Range, ...] = ()


def listed_channels(channels: Iterable[MemberChannel], before: int) -> list[ListedChannel]:
    """Those that may be listed by a message below ``before``."""
    return [one for one in map(_listed, channels) if one is not None and _is_below(one, before)]


class ListedChannels:
    """Reads the messages that channels are listed by.

    Args:
        connection: the store's.
        messages: its messages.
        own: by which they are told from documents of others.
    """

    def __init__(
        self, connection: MongoConnection, messages: Collection, own: OwnDocuments
    ) -> None:
        self._connection = connection
        self._messages = messages
        self._own = own

    async def read(self, channels: Sequence[ListedChannel], before: int) -> list[Conversation]:
        """Those that are listed by a message below ``before``, in no order.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        known = [format_id(one.last_id) for one in channels if not one.ranges]
        documents = await self._at(known) if known else []
        for part in in_parts([one for one in channels if one.ranges], _LOOKED_FOR_AT_ONCE):
            documents += chain.from_iterable(await asyncio.gather(*map(self._newest, part)))
        found = [self._own.convert(document, _conversation) for document in documents]
        return [one for one in found if one is not None and one.last_id < before]

    async def _at(self, ids: Sequence[str]) -> list[Document]:
        cursor = self._messages.find({"_id": {"$in": ids}}, collation=SIMPLE)
        return await self._connection.read(lambda: cursor.to_list(None))

    async def _newest(self, one: ListedChannel) -> list[Document]:
        query = within_ranges(one.ranges, "_id")
        cursor = self._messages.find(query, collation=SIMPLE, hint=MEMBERS_INDEX)
        newest = cursor.sort("_id", DESCENDING).limit(1)
        return await self._connection.read(partial(newest.to_list, None))


def _listed(one: MemberChannel) -> ListedChannel | None:
    """Where the newest message is that the user's pages of the channel show."""
    ranges: list[Range] = []
    for interval in one.intervals:
        first = max(interval.first, interval.visible_from)
        if first <= one.last_id <= interval.last:
            return ListedChannel(one.channel, one.last_id)
        last = min(interval.last, one.last_id)
        if first <= last:
            ranges.append(Range(one.channel, first, last))
    if not ranges:
        return None
    return ListedChannel(one.channel, max(part.last for part in ranges), tuple(ranges))


def _is_below(one: ListedChannel, before: int) -> bool:
    if one.ranges:
        return min(part.first for part in one.ranges) < before
    return one.last_id < before


def _conversation(document: Document) -> Conversation:
    body = to_body(document, ())
    return Conversation(document["channel"], (), int(document["_id"], 16), body)
