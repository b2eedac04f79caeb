"""Ids of a user's records: of inboxes, of large sets, and of groups and rooms.

An inbox is a range of ids. Large sets are merged with it
(:mod:`chatsvc.storage.sqlite.merging`); one whose last record is not above the range is not looked
at. Groups and rooms are merged as :mod:`chatsvc.storage.sqlite.channel_walks` finds them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from chatsvc.core.page import Bounds
from chatsvc.storage.sqlite.channel_walks import channel_ids as ids_in_channels
from chatsvc.storage.sqlite.channel_walks import channel_rows
from chatsvc.storage.sqlite.entries import window
from chatsvc.storage.sqlite.merging import MESSAGES, RECORDS, Sort, merge, order, outermost
from chatsvc.storage.sqlite.tables import BY_NAME


def _ids_in_large_sets(sort: Sort, *, newest: bool) -> str:
    first = outermost(sort, "e.conversation", ":after", ":before - 1", newest=newest)
    if newest:
        first = f"CASE WHEN e.{sort.last} < :before THEN e.{sort.last} ELSE {first} END"
    low, high = (":after", "walk.id - 1") if newest else ("walk.id", ":before - 1")
    return merge(
        f"SELECT {first}, e.conversation FROM members k"
        " CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
        f" WHERE k.user = :user AND k.large = 1 AND e.{sort.last} > :after",
        outermost(sort, "walk.conversation", low, high, newest=newest),
        newest=newest,
    )


def _merged(parts: list[str], *, newest: bool) -> str:
    """The foremost of several lists of ids."""
    every = " UNION ALL ".join(f"SELECT id FROM ({part})" for part in parts)
    return f"SELECT id FROM ({every}) ORDER BY id {order(newest=newest)} LIMIT :limit"


def _ids_within(source: str, *, newest: bool) -> str:
    """Ids of a table's rows, which are in the order of their ids."""
    return (
        f"SELECT id FROM {source} AND id > :after AND id < :before"
        f" ORDER BY id {order(newest=newest)} LIMIT :limit"
    )


def _user_ids(sort: Sort, *, newest: bool) -> str:
    parts = [
        _ids_within(f"inbox WHERE user = :user AND class = {number}", newest=newest)
        for number in sort.classes
    ]
    parts.append(_ids_in_large_sets(sort, newest=newest))
    parts.append(ids_in_channels(sort, newest=newest))
    return _merged(parts, newest=newest)


def _user_count(sort: Sort) -> str:
    """Counted without an order, and no further than the limit."""
    parts = [
        f"SELECT 1 FROM inbox WHERE user = :user AND class = {number}"
        " AND id > :after AND id < :before"
        for number in sort.classes
    ]
    parts += [
        "SELECT 1 FROM members k CROSS JOIN conversation_ends e ON e.conversation = k.conversation"
        f" CROSS JOIN {table} r ON r.conversation = k.conversation AND r.named IS NULL"
        " AND r.id > :after AND r.id < :before"
        f" WHERE k.user = :user AND k.large = 1 AND e.{sort.last} > :after"
        for table in sort.tables
    ]
    parts += channel_rows(sort)
    return f"SELECT count(*) FROM ({' UNION ALL '.join(parts)} LIMIT :limit)"


def _channel_ids(*, newest: bool) -> str:
    sources = [
        *(
            f"{table} WHERE conversation = :conversation AND named IS NULL"
            for table in RECORDS.tables
        ),
        f"inbox WHERE user = :reader AND conversation = :conversation AND class >= {BY_NAME}",
    ]
    return _merged([_ids_within(one, newest=newest) for one in sources], newest=newest)


# By whether changes are listed, and whether the newest are.
_USER_IDS: Final = {
    (sort is RECORDS, newest): _user_ids(sort, newest=newest)
    for sort in (MESSAGES, RECORDS)
    for newest in (True, False)
}
_USER_COUNTS: Final = {sort is RECORDS: _user_count(sort) for sort in (MESSAGES, RECORDS)}
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
