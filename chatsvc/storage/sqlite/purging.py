"""Old records of the embedded store, deleted with what they leave without anything."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from chatsvc.core.membership import is_member_channel
from chatsvc.storage.ports.messages import MessagePurger
from chatsvc.storage.sqlite import changes, inbox, requests
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.inbox import Listed
from chatsvc.storage.sqlite.participants import decode_names, participants_in
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, NAMED, json_list, transaction
from chatsvc.storage.sqlite.tables import BY_NAME, CHANGE_ROW, MESSAGE_ROW

PURGED_ROWS: Final = 10_000
"""About as many rows are deleted in one transaction, for writes to come between."""


class SqlitePurging(SqliteFile, MessagePurger):
    """Deletes records, the oldest first."""

    async def purge(self, before_id: int, *, limit: int = 1000) -> int:
        count = await self._writer.run(lambda db: purge(db, before_id, limit))
        self._shrinker.after_write()
        return count


class _Old(NamedTuple):
    id: int
    row_class: int
    conversation: int
    named: tuple[str, ...]
    requests: int


class _Conversation(NamedTuple):
    """Its ends are 0 where it has no records but those that name whom they are for."""

    of_members: bool
    large: bool
    users: tuple[str, ...]
    last_id: int
    last_record: int

    def listed(self, one: _Old) -> Listed:
        """The record in inboxes."""
        if one.named:
            return Listed(one.named, one.row_class + BY_NAME, one.id, one.conversation)
        users = () if self.large else self.users
        return Listed(users, one.row_class, one.id, one.conversation)


def purge(db: sqlite3.Connection, before_id: int, limit: int) -> int:
    """See :meth:`~chatsvc.storage.ports.messages.MessagePurger.purge`."""
    with transaction(db):
        old = _oldest(db, before_id, limit)
        held = _conversations(db, {one.conversation for one in old})
        old = _bounded(old, held)
        _delete_records(db, old, held)
        _delete_ended(db, old, held)
    return len(old)


def _oldest(db: sqlite3.Connection, before_id: int, limit: int) -> list[_Old]:
    query = " UNION ALL ".join(
        f"SELECT * FROM (SELECT id, {row_class}, conversation, named,"
        f" (SELECT count(*) FROM requests q WHERE q.id = r.id) FROM {table} r"
        " WHERE id < :before ORDER BY id LIMIT :limit)"
        for row_class, table in ((MESSAGE_ROW, "messages"), (CHANGE_ROW, "changes"))
    )
    found = db.execute(
        f"SELECT * FROM ({query}) ORDER BY 1 LIMIT :limit",
        {"before": min(before_id, MAX_ROW_ID), "limit": limit},
    )
    return [
        _Old(record_id, row_class, conversation, decode_names(named) if named else (), requests)
        for record_id, row_class, conversation, named, requests in found
    ]


def _conversations(db: sqlite3.Connection, numbers: set[int]) -> dict[int, _Conversation]:
    found = db.execute(
        "SELECT c.number, c.channel, c.large, c.participants,"
        " coalesce(e.last_id, 0), coalesce(e.last_record, 0)"
        " FROM conversations c LEFT JOIN conversation_ends e ON e.conversation = c.number"
        f" WHERE c.number IN {NAMED}",
        (json_list(numbers),),
    )
    return {
        number: _Conversation(
            is_member_channel(channel), bool(large), participants_in(encoded).users, *last
        )
        for number, channel, large, encoded, *last in found
    }


def _bounded(old: Sequence[_Old], held: Mapping[int, _Conversation]) -> list[_Old]:
    """As many of the first as are deleted with about :data:`PURGED_ROWS`; at least one."""
    taken: list[_Old] = []
    rows = 0
    for one in old:
        conversation = held[one.conversation]
        ends = one.id == conversation.last_record
        rows += 1 + len(conversation.listed(one).users) + len(conversation.users) * ends
        rows += one.requests
        if taken and rows > PURGED_ROWS:
            break
        taken.append(one)
    return taken


def _delete_records(
    db: sqlite3.Connection, old: Sequence[_Old], held: Mapping[int, _Conversation]
) -> None:
    inbox.delete(db, [held[one.conversation].listed(one) for one in old])
    if merged := [one.id for one in old if one.requests]:
        requests.delete(db, merged)
    ids = json_list(one.id for one in old if one.row_class == MESSAGE_ROW)
    db.execute(f"DELETE FROM messages WHERE id IN {NAMED}", (ids,))
    changes.delete(db, [one.id for one in old if one.row_class == CHANGE_ROW])


def _delete_ended(
    db: sqlite3.Connection, old: Sequence[_Old], held: Mapping[int, _Conversation]
) -> None:
    """Remove conversations that are left without a record, and the ends of those without one.

    Of a group or a room the conversation stays: its state has its number.
    """
    ended = [one.conversation for one in old if one.id == held[one.conversation].last_record]
    silent = [one.conversation for one in old if one.id == held[one.conversation].last_id]
    db.execute(
        f"UPDATE conversation_ends SET last_id = 0 WHERE conversation IN {NAMED}",
        (json_list(silent),),
    )
    db.executemany(
        "DELETE FROM members WHERE user = ? AND large = ? AND conversation = ?",
        [(user, held[one].large, one) for one in ended for user in held[one].users],
    )
    db.execute(f"DELETE FROM conversation_ends WHERE conversation IN {NAMED}", (json_list(ended),))
    sets = json_list(one for one in ended if not held[one].of_members)
    db.execute(f"DELETE FROM conversations WHERE number IN {NAMED}", (sets,))
