"""A user's conversations in the embedded store, newest first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

from chatsvc.core.conversation import Conversation
from chatsvc.core.membership import is_member_channel
from chatsvc.core.page import MAX_PAGE_BYTES, take
from chatsvc.storage.ports.conversations import ConversationReader, Members
from chatsvc.storage.sqlite.channel_walks import NEWEST_MESSAGES
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.entries import entries_of, messages_by_id
from chatsvc.storage.sqlite.participants import participants_in
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, snapshot
from chatsvc.storage.sqlite.tables import MESSAGE_ROW

SORTED_AT_ONCE: Final = 250
"""Up to so many conversations of a user are sorted, rather than walked to."""
WALKED: Final = 2000
"""Rows of an inbox that are looked at for the conversations whose newest message they are."""

_SORTED: Final = (
    "SELECT e.last_id FROM members k"
    " CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
    " WHERE k.user = :user AND k.large = :large AND e.last_id < :before"
    " ORDER BY e.last_id DESC LIMIT :limit"
)
_INBOX: Final = (
    f"SELECT id, conversation FROM inbox WHERE user = :user AND class = {MESSAGE_ROW}"
    " AND id < :before ORDER BY id DESC"
)
_WALKED: Final = (
    f"SELECT i.id FROM ({_INBOX} LIMIT :walked) i"
    " CROSS JOIN conversation_ends e ON e.conversation = i.conversation AND e.last_id = i.id"
    " LIMIT :limit"
)
# Whoever asks, the same is looked at, whether or not there is such a channel.
_NUMBER: Final = (
    "(SELECT coalesce((SELECT number FROM conversations WHERE channel = ?), 0) AS number) f"
)
_SET: Final = (
    f"SELECT c.participants, e.last_record FROM {_NUMBER}"
    " CROSS JOIN members k ON k.user = ? AND k.large IN (0, 1) AND k.conversation = f.number"
    " CROSS JOIN conversations c ON c.number = f.number"
    " CROSS JOIN conversation_ends e ON e.conversation = f.number"
)
_CHANNEL: Final = (
    f"SELECT c.participants, coalesce(e.last_record, 0) FROM {_NUMBER}"
    " CROSS JOIN memberships k ON k.user = ? AND k.conversation = f.number AND k.joined > 0"
    " CROSS JOIN conversations c ON c.number = f.number"
    " LEFT JOIN conversation_ends e ON e.conversation = f.number LIMIT 1"
)


class SqliteListing(SqliteFile, ConversationReader):
    """Lists conversations."""

    async def conversations(
        self, user: str, *, before: int, limit: int, max_bytes: int = MAX_PAGE_BYTES
    ) -> list[Conversation]:
        return await self._history.run(lambda db: conversations(db, user, before, limit, max_bytes))

    async def members(self, user: str, channel: str) -> Members | None:
        return await self._history.run(lambda db: members(db, user, channel))


def conversations(
    db: sqlite3.Connection, user: str, before: int, limit: int, max_bytes: int
) -> list[Conversation]:
    """Newest first."""
    with snapshot(db), closing(messages_by_id(db, _newest(db, user, before, limit))) as found:
        rows = take(entries_of(found), lambda entry: len(entry.body), max_bytes)
    return [Conversation(entry.channel, entry.audience, entry.id, entry.body) for entry in rows]


def _newest(db: sqlite3.Connection, user: str, before: int, limit: int) -> list[int]:
    """The newest messages of the user's conversations, newest first; 0 where one has none."""
    named: dict[str, str | int] = {
        "user": user,
        "before": min(before, MAX_ROW_ID),
        "limit": limit,
        "walked": WALKED,
    }
    large = _ids(db, _SORTED, {**named, "large": 1})
    few = db.execute(
        "SELECT 1 FROM members WHERE user = ? AND large = 0 LIMIT 1 OFFSET ?",
        (user, SORTED_AT_ONCE),
    ).fetchone()
    small = [] if few is None else _ids(db, _WALKED, named)
    if few is None or (len(small) < limit and _goes_on(db, named)):
        small = _ids(db, _SORTED, {**named, "large": 0})
    channels = _ids(db, NEWEST_MESSAGES, named)
    return sorted(small + large + channels, reverse=True)[:limit]


def _goes_on(db: sqlite3.Connection, named: dict[str, str | int]) -> bool:
    """Whether the inbox has rows behind those that were walked."""
    return db.execute(f"{_INBOX} LIMIT 1 OFFSET :walked", named).fetchone() is not None


def _ids(db: sqlite3.Connection, query: str, named: dict[str, str | int]) -> list[int]:
    return [row[0] for row in db.execute(query, named)]


def members(db: sqlite3.Connection, user: str, channel: str) -> Members | None:
    """Who is in a conversation of the user's."""
    query = _CHANNEL if is_member_channel(channel) else _SET
    row = db.execute(query, (channel, user)).fetchone()
    return Members(participants_in(row[0]).users, row[1]) if row else None
