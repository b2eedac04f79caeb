"""Ids of a user's records: those of inboxes, of large sets, and of groups and rooms.

An inbox is a range of ids. What is kept by conversation is merged with it by the queue of a
recursive query (sqlite.org/lang_with.html). The queue holds the next record of each large set, and
of each interval of a membership, gives the foremost, and takes the next of the same. It is seeded
with at most as many as the page may have records, and a conversation whose last record is not above
the range is not looked at.

The intervals of a user in a channel do not overlap: whoever joins again has left before.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite.entries import window
from chatsvc.storage.sqlite.statements import MAX_ROW_ID
from chatsvc.storage.sqlite.tables import BY_NAME, CHANGE_ROW, MESSAGE_ROW


class _Sort(NamedTuple):
    """What is listed: classes of the inbox, tables, and which end of a conversation tells."""

    classes: tuple[int, ...]
    tables: tuple[str, ...]
    last: str


_MESSAGES: Final = _Sort((MESSAGE_ROW, MESSAGE_ROW + BY_NAME), ("messages",), "last_id")
_RECORDS: Final = _Sort(
    (*_MESSAGES.classes, CHANGE_ROW, CHANGE_ROW + BY_NAME), ("messages", "changes"), "last_record"
)

INTERVAL_END: Final = f"coalesce(k.ended, s.dissolved, {MAX_ROW_ID})"
"""The last id of a membership ``k`` in a channel whose state, if there is one, is ``s``."""

_LARGE_SETS: Final = (
    "FROM members k CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
)
INTERVALS: Final = (
    "FROM memberships k CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
    " LEFT JOIN channel_states s ON s.conversation = k.conversation"
)
"""Memberships ``k`` of channels that have records, with the ``e`` of these and the state ``s``."""


class _Source(NamedTuple):
    """Conversations of the user, each with a range: ids above ``low``, up to ``high``."""

    rows: str
    low: str
    high: str


def _sources(sort: _Sort) -> tuple[_Source, _Source]:
    return (
        _Source(
            f"{_LARGE_SETS} WHERE k.user = :user AND k.large = 1 AND e.{sort.last} > :after",
            ":after",
            ":before - 1",
        ),
        _Source(
            f"{INTERVALS} WHERE k.user = :user AND k.joined > 0 AND k.joined < :before"
            " AND (k.ended IS NULL OR k.ended > :after)"
            f" AND e.{sort.last} > :after AND e.{sort.last} >= k.joined",
            "max(:after, k.joined - 1)",
            f"min(:before - 1, {INTERVAL_END})",
        ),
    )


def _outermost(sort: _Sort, conversation: str, low: str, high: str, *, newest: bool) -> str:
    """The newest or the oldest record of a range, else what sorts behind all."""
    pick, none = ("max", 0) if newest else ("min", MAX_ROW_ID)
    found = [
        f"coalesce((SELECT {pick}(id) FROM {table} WHERE conversation = {conversation}"
        f" AND named IS NULL AND id > {low} AND id <= {high}), {none})"
        for table in sort.tables
    ]
    return found[0] if len(found) == 1 else f"{pick}({', '.join(found)})"


def _seed(sort: _Sort, source: _Source, *, newest: bool) -> str:
    """The first record of each conversation, and where the walk of it ends."""
    rows, low, high = source
    first = _outermost(sort, "e.conversation", low, high, newest=newest)
    if newest and sort is _MESSAGES:  # what was last of another kind may have been replaced
        last = f"e.{sort.last}"
        first = f"CASE WHEN {last} > {low} AND {last} <= {high} THEN {last} ELSE {first} END"
    return f"SELECT {first} AS id, e.conversation, {low if newest else high} {rows}"


def _user_ids(sort: _Sort, *, newest: bool) -> str:
    order, none = ("DESC", 0) if newest else ("ASC", MAX_ROW_ID)
    low, high = ("walk.bound", "walk.id - 1") if newest else ("walk.id", "walk.bound")
    following = _outermost(sort, "walk.conversation", low, high, newest=newest)
    seeds = " UNION ALL ".join(_seed(sort, one, newest=newest) for one in _sources(sort))
    parts = [
        f"SELECT id FROM (SELECT id FROM inbox WHERE user = :user AND class = {number}"
        f" AND id > :after AND id < :before ORDER BY id {order} LIMIT :limit)"
        for number in sort.classes
    ]
    parts.append(
        "SELECT id FROM (WITH RECURSIVE walk(id, conversation, bound) AS ("
        f" SELECT * FROM ({seeds} ORDER BY 1 {order} LIMIT :limit)"
        f" UNION ALL SELECT {following}, walk.conversation, walk.bound FROM walk"
        f" WHERE walk.id <> {none} ORDER BY 1 {order})"
        f" SELECT id FROM walk WHERE id <> {none} LIMIT :limit)"
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
        f"SELECT 1 FROM (SELECT e.conversation, {low} AS low, {high} AS high {rows}) f"
        f" CROSS JOIN {table} r ON r.conversation = f.conversation AND r.named IS NULL"
        " AND r.id > f.low AND r.id <= f.high"
        for rows, low, high in _sources(sort)
        for table in sort.tables
    ]
    return f"SELECT count(*) FROM ({' UNION ALL '.join(parts)} LIMIT :limit)"


def _channel_ids(*, newest: bool) -> str:
    order = "DESC" if newest else "ASC"
    sources = [
        f"{table} WHERE conversation = :conversation AND named IS NULL" for table in _RECORDS.tables
    ]
    sources.append(
        f"inbox WHERE user = :reader AND conversation = :conversation AND class >= {BY_NAME}"
    )
    parts = (
        f"SELECT id FROM (SELECT id FROM {source}"
        f" AND id > :after AND id < :before ORDER BY id {order} LIMIT :limit)"
        for source in sources
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


def channel_ids(db: sqlite3.Connection, channel: str, bounds: Bounds, reader: str) -> list[int]:
    """Ids in the order of the bounds: of messages and changes of one conversation.

    Those that name whom they are for are found for the reader whom they name.
    """
    row = db.execute("SELECT number FROM conversations WHERE channel = ?", (channel,)).fetchone()
    if row is None:
        return []
    named = _named(bounds, conversation=row[0], reader=reader)
    return [found[0] for found in db.execute(_CHANNEL_IDS[bounds.newest], named)]


def _named(bounds: Bounds, **who: str | int) -> dict[str, str | int]:
    after, before, limit = window(bounds)
    return {"after": after, "before": before, "limit": limit, **who}
