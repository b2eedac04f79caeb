"""Messages found in the embedded store."""

from __future__ import annotations

import sqlite3

from chatsvc.core.page import Bounds, Entry
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.sqlite import walks
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.entries import (
    MESSAGE_COLUMNS,
    entries_of,
    messages_by_id,
    page_of,
    window,
)
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, snapshot


class SqliteMessages(SqliteFile, MessageReader):
    """Finds messages."""

    async def head(self) -> int:
        return await self._reader.run(head)

    async def get(self, message_id: int) -> Entry | None:
        return await self._history.run(lambda db: message(db, message_id))

    async def channel_page(self, channel: str, bounds: Bounds) -> list[Entry]:
        return await self._history.run(lambda db: channel_page(db, channel, bounds))

    async def user_page(self, user: str, bounds: Bounds) -> list[Entry]:
        return await self._history.run(lambda db: user_page(db, user, bounds))

    async def count_user(self, user: str, bounds: Bounds) -> int:
        return await self._history.run(lambda db: count_user(db, user, bounds))


def channel_page(db: sqlite3.Connection, channel: str, bounds: Bounds) -> list[Entry]:
    """Messages of one conversation, ascending."""
    order = "DESC" if bounds.newest else "ASC"
    found = db.execute(
        f"SELECT {MESSAGE_COLUMNS} FROM conversations c"
        " CROSS JOIN messages m ON m.conversation = c.number"
        " AND m.named IS NULL"
        f" WHERE c.channel = ? AND m.id > ? AND m.id < ? ORDER BY m.id {order} LIMIT ?",
        (channel, *window(bounds)),
    )
    return page_of(found, bounds)


def user_page(db: sqlite3.Connection, user: str, bounds: Bounds) -> list[Entry]:
    """Messages of the user's conversations, ascending."""
    with snapshot(db):
        ids = walks.user_ids(db, user, bounds, changes=False)
        return page_of(messages_by_id(db, ids), bounds)


def count_user(db: sqlite3.Connection, user: str, bounds: Bounds) -> int:
    """How many of them, up to the bounds' limit."""
    return walks.count_user(db, user, bounds, changes=False)


def message(db: sqlite3.Connection, message_id: int) -> Entry | None:
    """One message."""
    found = list(entries_of(messages_by_id(db, [min(message_id, MAX_ROW_ID)])))
    return found[0] if found else None


def head(db: sqlite3.Connection) -> int:
    """The highest id of a message or a change, 0 if there is none."""
    return newest_up_to(db, MAX_ROW_ID)


def newest_up_to(db: sqlite3.Connection, record_id: int) -> int:
    """The highest id of a message or a change that is not above this one, 0 if there is none."""
    row = db.execute(
        "SELECT max(coalesce((SELECT max(id) FROM messages WHERE id <= :id), 0),"
        " coalesce((SELECT max(id) FROM changes WHERE id <= :id), 0))",
        {"id": min(record_id, MAX_ROW_ID)},
    ).fetchone()
    return int(row[0])
