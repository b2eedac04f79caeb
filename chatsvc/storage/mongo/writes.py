"""Batches of records written to MongoDB.

The order of the writes is that of :mod:`chatsvc.storage.mongo.large_set_writes`: what is needed
to find a record is there before it, and a conversation tells of a message only after it. Of a
small set nothing has to be there before, because its documents name its people. The rows of the
log's state come first of all: a reader that finds a record knows who was a member by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from chatsvc.core.kinds import Kinds
from chatsvc.core.record import Record
from chatsvc.storage.bodies import conflicting, partition_records, sameness
from chatsvc.storage.mongo.bulk import update_all
from chatsvc.storage.mongo.changes import encode_change
from chatsvc.storage.mongo.conversation_updates import BatchConversations
from chatsvc.storage.mongo.database import MongoDatabase
from chatsvc.storage.mongo.documents import Encoded, encode
from chatsvc.storage.mongo.projections import MongoProjections
from chatsvc.storage.mongo.state_documents import updates_of
from chatsvc.storage.ports.messages import MessageWriter, Rejection
from chatsvc.storage.state_rows import rows_of

_PART: Final = 1000
"""Records that are encoded and inserted in one go."""


class _Part(NamedTuple):
    """Records as documents, ascending by id, and those that never will be."""

    messages: list[Encoded]
    changes: list[Encoded]
    rejections: list[Rejection]


class MongoWrites(MongoDatabase, MessageWriter):
    """Writes messages and changes with their conversations, and the rows that they change."""

    _projection_writes: MongoProjections

    async def write(self, records: Sequence[Record]) -> list[Rejection]:
        self._require_open()
        if not records:
            return []
        await update_all(self._connection, self._state, updates_of(rows_of(records)))
        folded = await self._projection_writes.fold(records)
        rejections = folded.rejections
        batch, records = records, folded.records
        if not records:
            await self._projection_writes.write({}, batch)
            return rejections
        conversations = BatchConversations()
        parts = [records[at : at + _PART] for at in range(0, len(records), _PART)]
        encoding = asyncio.ensure_future(asyncio.to_thread(_encode_all, parts[0], self._kinds))
        try:
            for following in [*parts[1:], None]:
                part = await encoding
                if following is not None:
                    # While MongoDB takes these in, the next become documents.
                    encoding = asyncio.ensure_future(
                        asyncio.to_thread(_encode_all, following, self._kinds)
                    )
                rejections += part.rejections
                rejections += await self._write_part(part, conversations)
        finally:
            await asyncio.wait([encoding])
        await conversations.write(self._connection, self._conversations)
        await self._projection_writes.write(folded.without(rejections), batch)
        return rejections

    async def _write_part(self, part: _Part, conversations: BatchConversations) -> list[Rejection]:
        messages, changes, rejections = await self._without_taken(part)
        await self._large_set_writes.begin([one.record for one in (*messages, *changes)])
        refused = await self._message_insertion.put(messages)
        if changes:
            self._newest_change = max(self._newest_change or 0, changes[-1].record.id)
            refused += await self._change_insertion.put(changes)
        ids = {one.record.id for one in refused}
        conversations.add_messages(one for one in messages if one.record.id not in ids)
        conversations.add_changes(one.record for one in changes if one.record.id not in ids)
        return rejections + refused

    async def _without_taken(self, part: _Part) -> _Part:
        """The same without what has its id from a record of the other collection.

        What has it from one of the same is told apart by its insertion, except for a change of
        a ``latest`` kind, which has no place of its own. Nothing is asked for messages above the
        newest change, as all are but those that are written again.
        """
        if self._newest_change is None:
            self._newest_change = await self._change_insertion.newest()
        lowest = min((one.record.id for one in part.messages), default=0)
        if not part.changes and lowest > self._newest_change:
            return part._replace(rejections=[])
        new_changes = [one.record.id for one in part.changes]
        new_messages = [one.record.id for one in part.messages]
        messages, changes = await asyncio.gather(
            self._message_insertion.held(new_changes),
            self._change_insertion.held(new_messages + new_changes),
        )
        left = _Part([], [], [])
        for one in part.messages:
            if one.record.id in changes:
                left.rejections.append(conflicting(one.record))
            else:
                left.messages.append(one)
        taken = messages.keys() | set(new_messages)
        for one in part.changes:
            first = changes.setdefault(one.record.id, same := sameness(one.record))
            if one.record.id in taken or first != same:
                left.rejections.append(conflicting(one.record))
            else:
                left.changes.append(one)
        return left


def _encode_all(records: Sequence[Record], kinds: Kinds) -> _Part:
    decoded, rejections = partition_records(records, kinds)
    part = _Part([], [], rejections)
    for record, body in decoded:
        if kinds.counts(record.kind):
            result, place = encode(record, body), part.messages
        else:
            latest = kinds.is_latest(record.kind)
            result, place = encode_change(record, latest=latest), part.changes
        if isinstance(result, Encoded):
            place.append(result)
        else:
            part.rejections.append(result)
    return part
