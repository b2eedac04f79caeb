"""Rows of members, channels and filters in the embedded store, written."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow
from chatsvc.storage.sqlite import conversations
from chatsvc.storage.sqlite.statements import MAX_ROW_ID, insert_rows
from chatsvc.storage.state_rows import newest_rows

_MEMBERS: Final = (
    "memberships",
    ("user", "conversation", "joined"),
    ("ended", "role", "visible_from", "muted_until", "banned_until", "rev"),
)
_CHANNELS: Final = ("channel_states", ("conversation",), ("count", "settings", "dissolved", "rev"))
_FILTERS: Final = ("filters", ("user", "sort", "about", "since"), ("until", "rev"))

_Table = tuple[str, tuple[str, ...], tuple[str, ...]]


def put(db: sqlite3.Connection, rows: Sequence[StateRow]) -> None:
    """Add rows, each in the place of one of a lower ``rev``, within the transaction."""
    newest = newest_rows(rows)
    members = [row for row in newest if isinstance(row, MemberRow)]
    channels = [row for row in newest if isinstance(row, ChannelRow)]
    filters = [row for row in newest if isinstance(row, FilterRow)]
    of_channels = [*(row.channel for row in members), *(row.channel for row in channels)]
    numbers = conversations.numbers_of(db, of_channels)
    _upsert(db, _MEMBERS, [_member(row, numbers[row.channel]) for row in members])
    _upsert(db, _CHANNELS, [_channel(row, numbers[row.channel]) for row in channels])
    _upsert(db, _FILTERS, [_filter(row) for row in filters])


def _upsert(db: sqlite3.Connection, table: _Table, rows: Sequence[Sequence[Any]]) -> None:
    name, key, others = table
    columns = (*key, *others)
    insert_rows(
        db,
        f"{name} ({', '.join(columns)})",
        rows,
        len(columns),
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET"
        f" {', '.join(f'{column} = excluded.{column}' for column in others)}"
        " WHERE excluded.rev > rev",
    )


def _fit(number: int) -> int:
    """A number as SQLite can hold it: rows must never be what a batch fails for."""
    return min(number, MAX_ROW_ID)


def _end(number: int) -> int | None:
    return _fit(number) or None


def _member(row: MemberRow, conversation: int) -> tuple[Any, ...]:
    one = row.member
    return (
        one.user,
        conversation,
        _fit(one.joined),
        _end(one.left),
        one.role,
        _fit(one.visible_from),
        _fit(one.muted_until),
        _fit(one.banned_until),
        _fit(row.rev),
    )


def _channel(row: ChannelRow, conversation: int) -> tuple[Any, ...]:
    state = row.state
    return conversation, _fit(state.count), state.settings, _end(state.dissolved), _fit(row.rev)


def _filter(row: FilterRow) -> tuple[Any, ...]:
    one = row.filter
    return one.user, one.sort, one.of, _fit(one.since), _fit(one.until), _fit(row.rev)
