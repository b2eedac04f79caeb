"""Conversations in MongoDB, listed for their people by their newest message.

Small sets are found by an index of ``audience`` and ``last_id``, large ones among those of the
user (:mod:`chatsvc.storage.mongo.large_sets`), groups and rooms by the user's memberships
(:mod:`chatsvc.storage.mongo.listed_channels`). ``last_id`` is 0 where there is no message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatsvc.core.conversation import Conversation, message_bytes
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import MAX_PAGE_BYTES, Bounds, take
from chatsvc.storage.mongo.collections import LOWEST
from chatsvc.storage.mongo.connection import SIMPLE
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Document, id_range, to_conversation
from chatsvc.storage.mongo.large_sets import LargeSet, in_parts
from chatsvc.storage.mongo.listed_channels import ListedChannel, listed_channels
from chatsvc.storage.ports.conversations import ConversationReader, Members

_DOCUMENTS_AT_ONCE = 100


class MongoConversations(MongoDatabase, ConversationReader):
    """Lists conversations."""

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        self._require_open()
        if limit < 1:  # to MongoDB, a limit of 0 is none
            return []
        bounds = Bounds(limit, before=before, max_bytes=max_bytes)
        small, sets, channels = await asyncio.gather(
            self._own.collect(
                self._read_conversations,
                {"audience": user},
                "last_id",
                bounds,
                to_conversation,
                message_bytes,
            ),
            self._large_sets.of(user),
            self._member_channels.of(user),
        )
        others: list[LargeSet | ListedChannel] = [*listed_channels(channels, before)]
        others += [one for one in sets if 0 < one.last_id < before]
        others.sort(key=lambda one: one.last_id, reverse=True)
        found = small
        # More than ``limit`` are needed where one has moved above ``before`` or ended meanwhile.
        for part in in_parts(others, min(limit, _DOCUMENTS_AT_ONCE)):
            # A list that is full ends with what is older than all that could still come.
            full = _is_full(found, bounds)
            wanted = [one for one in part if not full or one.last_id > found[-1].last_id]
            if not wanted:
                break
            found = _merged(found, await self._listed(wanted, bounds), bounds)
        return found

    async def members(self, user: str, channel: str) -> Members | None:
        self._require_open()
        if is_member_channel(channel):
            return await self._members_of_channel(user, channel)
        query = {"_id": channel, "participants": user}
        fields = {"participants": 1, "last_id": 1, "last_record": 1}
        found = await self._connection.read(
            lambda: self._read_conversations.find_one(query, fields, collation=SIMPLE)
        )
        return self._own.convert(found, _members) if found else None

    async def _members_of_channel(self, user: str, channel: str) -> Members | None:
        intervals, reaching = await asyncio.gather(
            self._member_channels.intervals(user, channel), self._large_sets.reaching([channel])
        )
        newest = reaching[0].last_record if reaching else 0
        return Members((), newest) if intervals else None

    async def _listed(
        self, wanted: Sequence[LargeSet | ListedChannel], bounds: Bounds
    ) -> list[Conversation]:
        sets, channels = await asyncio.gather(
            self._listed_sets([one.channel for one in wanted if isinstance(one, LargeSet)], bounds),
            self._listed_channels.read(
                [one for one in wanted if isinstance(one, ListedChannel)], bounds.before
            ),
        )
        return sets + channels

    async def _listed_sets(self, channels: Sequence[str], bounds: Bounds) -> list[Conversation]:
        if not channels:
            return []
        query = {"_id": {"$in": channels}, "last_id": id_range(bounds)}
        cursor = self._read_conversations.find(query, collation=SIMPLE)
        documents = await self._connection.read(lambda: cursor.to_list(None))
        converted = [self._own.convert(document, to_conversation) for document in documents]
        return [one for one in converted if one is not None]


def _is_full(found: Sequence[Conversation], bounds: Bounds) -> bool:
    size = sum(map(message_bytes, found))
    return len(found) >= bounds.limit or (len(found) > 1 and size > bounds.max_bytes)


def _merged(
    found: Sequence[Conversation], part: Sequence[Conversation], bounds: Bounds
) -> list[Conversation]:
    """Both, newest first, each once, as far as the bounds go."""
    each = {one.channel: one for one in (*found, *part)}
    ordered = sorted(each.values(), key=lambda one: one.last_id, reverse=True)
    return take(ordered[: bounds.limit], message_bytes, bounds.max_bytes)


def _members(document: Document) -> Members:
    # What version 1 wrote of few people has no last_record, until something is added.
    newest = max(document["last_id"], document.get("last_record", LOWEST))
    return Members(tuple(document["participants"]), int(newest, 16))
