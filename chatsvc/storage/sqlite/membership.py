"""Members, channels and filters of the embedded store, found and put."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from chatsvc.core.membership import Channel, Filter, Interval, Member, interval_of
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StatePage, StateRow
from chatsvc.storage.ports.membership import StateReader, StateWriter
from chatsvc.storage.sqlite import state_rows
from chatsvc.storage.sqlite.connection import SqliteFile
from chatsvc.storage.sqlite.statements import snapshot, transaction

_MEMBER: Final = (
    "k.user, k.joined, coalesce(k.ended, 0), k.role, k.visible_from, k.muted_until, k.banned_until"
)
_INTERVALS: Final = (
    f"SELECT coalesce(s.dissolved, 0), {_MEMBER} FROM conversations c"
    " CROSS JOIN memberships k ON k.user = ? AND k.conversation = c.number"
    " LEFT JOIN channel_states s ON s.conversation = c.number"
    " WHERE c.channel = ? ORDER BY k.joined"
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str | int]).decode


class _Sort(NamedTuple):
    """Rows of one table in the order of its key.

    ``query`` begins with the columns of the key; ``read`` takes the others.
    """

    query: str
    width: int
    read: Callable[[Sequence[Any]], StateRow]


def _read_channel(row: Sequence[Any]) -> StateRow:
    channel, rev, *state = row
    return ChannelRow(channel, Channel(*state), rev)


def _read_member(row: Sequence[Any]) -> StateRow:
    channel, rev, *member = row
    return MemberRow(channel, Member(*member), rev)


def _read_filter(row: Sequence[Any]) -> StateRow:
    rev, *one = row
    return FilterRow(Filter(*one), rev)


_SORTS: Final = (
    _Sort(
        "SELECT s.conversation, c.channel, s.rev, s.count, s.settings, coalesce(s.dissolved, 0)"
        " FROM channel_states s CROSS JOIN conversations c ON c.number = s.conversation"
        " WHERE s.conversation > ? ORDER BY s.conversation LIMIT ?",
        1,
        _read_channel,
    ),
    _Sort(
        f"SELECT k.user, k.conversation, k.joined, c.channel, k.rev, {_MEMBER}"
        " FROM memberships k CROSS JOIN conversations c ON c.number = k.conversation"
        " WHERE (k.user, k.conversation, k.joined) > (?, ?, ?)"
        " ORDER BY k.user, k.conversation, k.joined LIMIT ?",
        3,
        _read_member,
    ),
    _Sort(
        "SELECT user, sort, about, since, rev, user, sort, about, since, until FROM filters"
        " WHERE (user, sort, about, since) > (?, ?, ?, ?)"
        " ORDER BY user, sort, about, since LIMIT ?",
        4,
        _read_filter,
    ),
)
_BEGINNINGS: Final[tuple[tuple[str | int, ...], ...]] = ((0,), ("", 0, -1), ("", "", "", -1))
"""Keys below all others, for each of them."""


class SqliteMembership(SqliteFile, StateReader, StateWriter):
    """Finds intervals and rows, and puts rows."""

    async def intervals(self, user: str, channel: str) -> list[Interval]:
        return await self._history.run(lambda db: intervals(db, user, channel))

    async def state_page(self, after: str, limit: int) -> StatePage:
        return await self._reader.run(lambda db: state_page(db, after, limit))

    async def put_state(self, rows: Sequence[StateRow]) -> None:
        await self._writer.run(lambda db: put_state(db, rows))
        self._shrinker.after_write()


def intervals(db: sqlite3.Connection, user: str, channel: str) -> list[Interval]:
    """See :meth:`~chatsvc.storage.ports.membership.StateReader.intervals`."""
    found = [
        interval_of(channel, Member(*member), dissolved)
        for dissolved, *member in db.execute(_INTERVALS, (user, channel))
    ]
    return [one for one in found if one is not None]


def state_page(db: sqlite3.Connection, after: str, limit: int) -> StatePage:
    """See :meth:`~chatsvc.storage.ports.membership.StateReader.state_page`.

    ``after`` is the number of the table and the key of its last row that was read.
    """
    at, *key = _decode(after) if after else (0, *_BEGINNINGS[0])
    found: list[tuple[str, StateRow]] = []
    with snapshot(db):
        for sort in range(int(at), len(_SORTS)):
            query, width, read = _SORTS[sort]
            bounds = key if sort == at else _BEGINNINGS[sort]
            rows = db.execute(query, (*bounds, limit + 1 - len(found)))
            found += [(_encode((sort, *row[:width])).decode(), read(row[width:])) for row in rows]
    kept = found[:limit]
    return StatePage([row for _, row in kept], kept[-1][0] if len(found) > limit else "")


def put_state(db: sqlite3.Connection, rows: Sequence[StateRow]) -> None:
    """See :meth:`~chatsvc.storage.ports.membership.StateWriter.put_state`."""
    with transaction(db):
        state_rows.put(db, rows)
