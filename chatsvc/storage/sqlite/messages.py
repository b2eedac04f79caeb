"""Rows of messages in the embedded store, and of the audiences that they are listed by."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from chatsvc.core.page import Bounds, Entry, take
from chatsvc.core.record import Record
from chatsvc.storage.bodies import Sameness
from chatsvc.storage.client_ids import minted_ahead_ms
from chatsvc.storage.ports.messages import MessageReader
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, NAMED, in_bulk, json_list

_ENTRY: Final = "m.id, m.rev, m.channel, m.sender, m.origin, m.audience, m.body"

OldMessages = list[tuple[int, int, str, str]]
"""Id, rev, channel and audience of messages."""


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


def known(db: sqlite3.Connection, records: Sequence[Record]) -> dict[int, Sameness]:
    """What is stored under the ids of the records, which ascend."""
    newest = db.execute("SELECT max(id) FROM messages").fetchone()[0]
    if newest is None or records[0].id > newest:
        return {}  # the usual case: everything is new
    found = db.execute(
        f"SELECT id, digest, channel, sender, client_id FROM messages WHERE id IN {NAMED}",
        (json_list(record.id for record in records),),
    )
    return {row[0]: Sameness(*row[1:]) for row in found}


def insert(db: sqlite3.Connection, records: Sequence[Record]) -> None:
    """Add rows; none of the ids is there yet."""
    in_bulk(
        db,
        "INSERT INTO messages"
        " (id, rev, channel, sender, origin, client_id, digest, audience, body, minted_ahead_ms)"
        " SELECT * FROM",
        (
            (
                record.id,
                record.id,
                record.channel,
                record.sender,
                record.origin,
                record.client_id,
                record.digest,
                ",".join(record.audience),  # no user id holds a comma
                record.body,
                minted_ahead_ms(record),
            )
            for record in records
        ),
        10,
    )
    in_bulk(
        db,
        "INSERT INTO audience (user, rev, id) SELECT * FROM",
        ((user, record.id, record.id) for record in records for user in record.audience),
        3,
    )


def oldest(db: sqlite3.Connection, before_id: int, limit: int) -> OldMessages:
    """The oldest messages below an id."""
    return db.execute(
        "SELECT id, rev, channel, audience FROM messages WHERE id < ? ORDER BY id LIMIT ?",
        (min(before_id, MAX_ROW_ID), limit),
    ).fetchall()


def delete(db: sqlite3.Connection, old: OldMessages) -> None:
    """Remove messages from the audiences' lists, and themselves."""
    listed = ((user, rev) for _, rev, _, users in old for user in split_audience(users))
    db.executemany("DELETE FROM audience WHERE user = ? AND rev = ?", listed)
    ids = json_list(row[0] for row in old)
    db.execute(f"DELETE FROM messages WHERE id IN {NAMED}", (ids,))


def split_audience(audience: str) -> tuple[str, ...]:
    """The users in the column ``audience``: no user id holds a comma."""
    return tuple(audience.split(",")) if audience else ()


def channel_page(db: sqlite3.Connection, channel: str, bounds: Bounds) -> list[Entry]:
    """Messages of one conversation, ascending."""
    query = f"SELECT {_ENTRY} FROM messages m WHERE m.channel = ?"
    return _page(db, query, "m.id", channel, bounds)


def user_page(db: sqlite3.Connection, user: str, bounds: Bounds) -> list[Entry]:
    """Messages whose audience holds the user, ascending by ``rev``."""
    query = f"SELECT {_ENTRY} FROM audience a CROSS JOIN messages m ON m.id = a.id WHERE a.user = ?"
    return _page(db, query, "a.rev", user, bounds)


def count_user(db: sqlite3.Connection, user: str, bounds: Bounds) -> int:
    """How many of them, up to the bounds' limit."""
    row = db.execute(
        "SELECT count(*) FROM"
        " (SELECT 1 FROM audience WHERE user = ? AND rev > ? AND rev < ? LIMIT ?)",
        (user, *_window(bounds)),
    ).fetchone()
    return int(row[0])


def message(db: sqlite3.Connection, message_id: int) -> Entry | None:
    """One message."""
    row = db.execute(
        f"SELECT {_ENTRY} FROM messages m WHERE m.id = ?", (min(message_id, MAX_ROW_ID),)
    ).fetchone()
    return _entry(row) if row else None


def head(db: sqlite3.Connection) -> int:
    """The highest ``rev``: as long as nothing changes a stored message, the highest id."""
    row = db.execute("SELECT max(id) FROM messages").fetchone()
    return int(row[0] or 0)


def _page(db: sqlite3.Connection, query: str, by: str, who: str, bounds: Bounds) -> list[Entry]:
    order = "DESC" if bounds.newest else "ASC"
    found = db.execute(
        f"{query} AND {by} > ? AND {by} < ? ORDER BY {by} {order} LIMIT ?", (who, *_window(bounds))
    )
    with closing(found):  # one that is left halfway would keep the WAL from being emptied
        rows = take(found, lambda row: len(row[6]), bounds.max_bytes)
    if bounds.newest:
        rows.reverse()
    return [_entry(row) for row in rows]


def _window(bounds: Bounds) -> tuple[int, int, int]:
    return min(bounds.after, MAX_ROW_ID), min(bounds.before, MAX_ROW_ID), bounds.limit


def _entry(row: tuple[int, int, str, str, str, str, bytes]) -> Entry:
    return Entry(row[0], row[1], row[2], row[3], row[4], split_audience(row[5]), row[6])
