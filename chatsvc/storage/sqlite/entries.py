"""Records found by their ids, as readers need them.

A query for ids comes first, then one for their rows: sorted with their bodies, all bodies would
be read before the first is known to be within the bounds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from chatsvc.core.message import MESSAGE
from chatsvc.core.page import Bounds, Entry, take
from chatsvc.storage.sqlite.participants import (
    Participants,
    decode_names,
    participants_in,
    whole_body,
)
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, json_list

MESSAGE_COLUMNS: Final = (
    "m.id, coalesce(m.rev, m.id), m.sender, m.origin, NULL, m.named, m.cut, m.body,"
    " c.number, c.channel, c.participants"
)
"""Of a message ``m`` in a conversation ``c``, for :func:`entries_of`; the kind is of changes."""

# json_each goes through a list in its order, and CROSS JOIN keeps it the outer loop.
_MESSAGES: Final = (
    f"SELECT {MESSAGE_COLUMNS} FROM json_each(?) j CROSS JOIN messages m ON m.id = j.value"
    " CROSS JOIN conversations c ON c.number = m.conversation"
)
_RECORDS: Final = (
    "SELECT coalesce(m.id, h.id), coalesce(m.rev, m.id, h.id), coalesce(m.sender, h.sender),"
    " coalesce(m.origin, h.origin), h.kind, coalesce(m.named, h.named), m.cut,"
    " coalesce(m.body, h.body),"
    " c.number, c.channel, c.participants FROM json_each(?) j"
    " LEFT JOIN messages m ON m.id = j.value"
    " LEFT JOIN changes h ON h.id = CASE WHEN m.id IS NULL THEN j.value END"
    " CROSS JOIN conversations c ON c.number = coalesce(m.conversation, h.conversation)"
)


def window(bounds: Bounds) -> tuple[int, int, int]:
    """The bounds as parameters: after, before and the limit."""
    return min(bounds.after, MAX_ROW_ID), min(bounds.before, MAX_ROW_ID), bounds.limit


def entries_of(rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
    """One by one; what conversations share is decoded once."""
    known: dict[int, Participants] = {}
    for record_id, rev, sender, origin, kind, named, cut, body, number, channel, encoded in rows:
        people = known.get(number)
        if people is None:
            people = known[number] = participants_in(encoded)
        yield Entry(
            id=record_id,
            rev=rev,
            channel=channel,
            sender=sender,
            origin=origin,
            audience=people.users if named is None else decode_names(named),
            body=whole_body(cut, body, people.member),
            kind=kind or MESSAGE.name,
        )


def messages_by_id(db: sqlite3.Connection, ids: Iterable[int]) -> sqlite3.Cursor:
    """Rows for :func:`entries_of`, in the order of the ids, read as they are asked for."""
    return db.execute(_MESSAGES, (json_list(ids),))


def records_by_id(db: sqlite3.Connection, ids: Iterable[int]) -> sqlite3.Cursor:
    """As :func:`messages_by_id`, of messages and changes."""
    return db.execute(_RECORDS, (json_list(ids),))


def page_of(found: sqlite3.Cursor, bounds: Bounds) -> list[Entry]:
    """A page, ascending, of rows in the order of the bounds; none is read behind the last."""
    with closing(found):  # one that is left halfway would keep the WAL from being emptied
        page = take(entries_of(found), lambda entry: len(entry.body), bounds.max_bytes)
    if bounds.newest:
        page.reverse()
    return page
