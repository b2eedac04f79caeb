"""Ids of a user's records, merged from the inbox and from the user's large conversations.

The merge is the queue of a recursive query (sqlite.org/lang_with.html): it holds the next record
of each large conversation, gives the foremost, and takes that conversation's next. It is seeded
with at most as many conversations as the page may have records, and one whose last record is not
above the range is not looked at.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite.entries import window
from chatsvc.storage.sqlite.statements import MAX_ROW_ID
from chatsvc.storage.sqlite.tables import CHANGE_ROW, MESSAGE_ROW


class _Sort(NamedTuple):
    """What is listed: classes of the inbox, tables, and which end of a conversation tells."""

    classes: tuple[int, ...]
    tables: tuple[str, ...]
    last: str


_MESSAGES: Final = _Sort((MESSAGE_ROW,), ("messages",), "last_id")
_RECORDS: Final = _Sort((MESSAGE_ROW, CHANGE_ROW), ("messages", "changes"), "last_record")


def _next(sort: _Sort, conversation: str, bound: str, *, newest: bool) -> str:
    """The record of a conversation that comes after ``bound``, else what sorts behind all."""
    end = 0 if newest else MAX_ROW_ID
    pick, inside = (
        ("max", f"id < {bound} AND id > :after")
        if newest
        else ("min", f"id > {bound} AND id < :before")
    )
    found = [
        f"coalesce((SELECT {pick}(id) FROM {table}"
        f" WHERE conversation = {conversation} AND {inside}), {end})"
        for table in sort.tables
    ]
    return found[0] if len(found) == 1 else f"{pick}({', '.join(found)})"


def _user_ids(sort: _Sort, *, newest: bool) -> str:
    order = "DESC" if newest else "ASC"
    end = 0 if newest else MAX_ROW_ID
    first = _next(sort, "e.conversation", ":before" if newest else ":after", newest=newest)
    if newest:
        first = f"CASE WHEN e.{sort.last} < :before THEN e.{sort.last} ELSE {first} END"
    following = _next(sort, "walk.conversation", "walk.id", newest=newest)
    parts = [
        f"SELECT id FROM (SELECT id FROM inbox WHERE user = :user AND class = {number}"
        f" AND id > :after AND id < :before ORDER BY id {order} LIMIT :limit)"
        for number in sort.classes
    ]
    parts.append(
        "SELECT id FROM (WITH RECURSIVE walk(id, conversation) AS ("
        f" SELECT * FROM (SELECT {first}, e.conversation FROM members k"
        " CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
        f" WHERE k.user = :user AND k.large = 1 AND e.{sort.last} > :after"
        f" ORDER BY 1 {order} LIMIT :limit)"
        f" UNION ALL SELECT {following}, walk.conversation FROM walk WHERE walk.id <> {end}"
        f" ORDER BY 1 {order})"
        f" SELECT id FROM walk WHERE id <> {end} LIMIT :limit)"
    )
    return f"SELECT id FROM ({' UNION ALL '.join(parts)}) ORDER BY id {order} LIMIT :limit"


def _user_count(sort: _Sort) -> str:
    """Counted without an order, and no further than the limit."""
    parts = [
        f"SELECT 1 FROM inbox WHERE user = :user AND class = {number}"
        " AND id > :after AND id < :before"
        for number in sort.classes
    ]
    parts += [
        "SELECT 1 FROM members k CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
        f" CROSS JOIN {table} r ON r.conversation = k.conversation"
        " AND r.id > :after AND r.id < :before"
        f" WHERE k.user = :user AND k.large = 1 AND e.{sort.last} > :after"
        for table in sort.tables
    ]
    return f"SELECT count(*) FROM ({' UNION ALL '.join(parts)} LIMIT :limit)"


def _channel_ids(*, newest: bool) -> str:
    order = "DESC" if newest else "ASC"
    parts = (
        f"SELECT id FROM (SELECT id FROM {table} WHERE conversation = :conversation"
        f" AND id > :after AND id < :before ORDER BY id {order} LIMIT :limit)"
        for table in _RECORDS.tables
    )
    return f"SELECT id FROM ({' UNION ALL '.join(parts)}) ORDER BY id {order} LIMIT :limit"


# By whether changes are listed, and whether the newest are.
_USER_IDS: Final = {
    (sort is _RECORDS, newest): _user_ids(sort, newest=newest)
    for sort in (_MESSAGES, _RECORDS)
    for newest in (True, False)
}
_USER_COUNTS: Final = {sort is _RECORDS: _user_count(sort) for sort in (_MESSAGES, _RECORDS)}
_CHANNEL_IDS: Final = {newest: _channel_ids(newest=newest) for newest in (True, False)}


def user_ids(db: sqlite3.Connection, user: str, bounds: Bounds, *, changes: bool) -> list[int]:
    """Ids in the order of the bounds: of the user's messages, or of changes too."""
    query = _USER_IDS[changes, bounds.newest]
    return [row[0] for row in db.execute(query, _named(bounds, user=user))]


def count_user(db: sqlite3.Connection, user: str, bounds: Bounds, *, changes: bool) -> int:
    """How many :func:`user_ids` would find."""
    row = db.execute(_USER_COUNTS[changes], _named(bounds, user=user)).fetchone()
    return int(row[0])


def channel_ids(db: sqlite3.Connection, channel: str, bounds: Bounds) -> list[int]:
    """Ids in the order of the bounds: of messages and changes of one conversation."""
    row = db.execute("SELECT number FROM conversations WHERE channel = ?", (channel,)).fetchone()
    if row is None:
        return []
    named = _named(bounds, conversation=row[0])
    return [found[0] for found in db.execute(_CHANNEL_IDS[bounds.newest], named)]


def _named(bounds: Bounds, **who: str | int) -> dict[str, str | int]:
    after, before, limit = window(bounds)
    return {"after": after, "before": before, "limit": limit, **who}
