"""Rows of the inbox: one for each participant and record of a conversation that is not large."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from chatsvc.storage.sqlite.statements import insert_rows

InboxRow = tuple[str, int, int, int]
"""User, class, id of the record, number of the conversation."""


class Listed(NamedTuple):
    """A record in a conversation's inboxes."""

    users: tuple[str, ...]
    row_class: int
    id: int
    conversation: int


def insert(db: sqlite3.Connection, rows: Iterable[InboxRow]) -> None:
    """Add rows; none of them is there yet."""
    insert_rows(db, "inbox (user, class, id, conversation)", rows, 4)


def delete(db: sqlite3.Connection, records: Iterable[Listed]) -> None:
    """Remove rows."""
    # Row by row: SQLite walks the whole table for a list of keys of several columns.
    db.executemany(
        "DELETE FROM inbox WHERE user = ? AND class = ? AND id = ?",
        [(user, one.row_class, one.id) for one in records for user in one.users],
    )
