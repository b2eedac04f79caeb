"""Rows of conversations in the embedded store, and of their members."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from chatsvc.core.conversation import Conversation
from chatsvc.core.page import MAX_PAGE_BYTES, take
from chatsvc.core.record import Record
from chatsvc.storage.bodies import decode_participants
from chatsvc.storage.ports.conversations import ConversationReader, Members
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.messages import OldMessages, split_audience
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, NAMED, in_bulk, json_list

# Row by row: SQLite walks the whole table for a list of (user, channel) pairs.
_LEAVE: Final = "DELETE FROM members WHERE user = ? AND channel = ?"


class SqliteConversations(SqliteFile, ConversationReader):
    """Lists conversations."""

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        return await self._history.run(lambda db: conversations(db, user, before, limit, max_bytes))

    async def members(self, user: str, channel: str) -> Members | None:
        return await self._history.run(lambda db: members(db, user, channel))


def update(db: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Make or move on the conversations of stored messages, which ascend."""
    newest = {record.channel: record for record in records}  # ascending by id
    known = {
        channel: (last_id, audience)
        for channel, last_id, audience in db.execute(
            "SELECT c.channel, c.last_id, m.audience FROM conversations c"
            f" JOIN messages m ON m.id = c.last_id WHERE c.channel IN {NAMED}",
            (json_list(newest),),
        )
    }
    moved = [
        record
        for record in newest.values()
        if record.channel not in known or record.id > known[record.channel][0]
    ]
    in_bulk(
        db,
        "INSERT OR REPLACE INTO conversations (channel, last_id) SELECT * FROM",
        ((record.channel, record.id) for record in moved),
        2,
    )
    joining: list[tuple[str, str]] = []
    leaving: list[tuple[str, str]] = []
    for record in moved:
        now = set(record.audience)
        _, audience = known.get(record.channel, (0, ""))
        before = set(split_audience(audience))
        if now != before:
            joining.extend((user, record.channel) for user in sorted(now - before))
            leaving.extend((user, record.channel) for user in sorted(before - now))
    in_bulk(db, "INSERT OR IGNORE INTO members (user, channel) SELECT * FROM", joining, 2)
    db.executemany(_LEAVE, leaving)


def delete_ended(db: sqlite3.Connection, old: OldMessages) -> None:
    """Remove the conversations whose newest message is among these."""
    ended = db.execute(
        "SELECT c.channel, m.audience FROM conversations c JOIN messages m ON m.id = c.last_id"
        f" WHERE c.channel IN {NAMED} AND c.last_id IN {NAMED}",
        (json_list({row[2] for row in old}), json_list(row[0] for row in old)),
    ).fetchall()
    members = ((user, channel) for channel, users in ended for user in split_audience(users))
    db.executemany(_LEAVE, members)
    db.execute(
        f"DELETE FROM conversations WHERE channel IN {NAMED}",
        (json_list(channel for channel, _ in ended),),
    )


def conversations(
    db: sqlite3.Connection, user: str, before: int, limit: int, max_bytes: int
) -> list[Conversation]:
    """Newest first."""
    newest = db.execute(
        "SELECT c.last_id FROM members k CROSS JOIN conversations c ON c.channel = k.channel"
        " WHERE k.user = ? AND c.last_id < ? ORDER BY c.last_id DESC LIMIT ?",
        (user, min(before, MAX_ROW_ID), limit),
    ).fetchall()
    # One by one: a join that is sorted would hold the bodies of all of them at once.
    bodies = (
        db.execute("SELECT channel, id, body FROM messages WHERE id = ?", last_id).fetchone()
        for last_id in newest
    )
    rows = take((row for row in bodies if row is not None), lambda row: len(row[2]), max_bytes)
    return [
        Conversation(channel, decode_participants(body).participants, last_id, body)
        for channel, last_id, body in rows
    ]


def members(db: sqlite3.Connection, user: str, channel: str) -> Members | None:
    """Who is in a conversation of the user's."""
    row = db.execute(
        "SELECT c.last_id, m.body FROM members k"
        " CROSS JOIN conversations c ON c.channel = k.channel"
        " CROSS JOIN messages m ON m.id = c.last_id WHERE k.user = ? AND k.channel = ?",
        (user, channel),
    ).fetchone()
    return Members(decode_participants(row[1]).participants, row[0]) if row else None
