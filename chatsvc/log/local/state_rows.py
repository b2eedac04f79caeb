"""The log's own state in its file: rows that are written in the transaction of their record.

Each row has the id of the record that changed it last (``rev``) and a CRC over all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import LogDamaged
from chatsvc.core.membership import Channel, Member, StateChange
from chatsvc.core.record import Record, with_state
from chatsvc.log.local.columns import DATA
from chatsvc.log.local.database import LogDatabase
from chatsvc.log.local.state_tables import (
    CHANNELS,
    FILTERS,
    MEMBER_ORDER,
    MEMBERS,
    NEWEST_MEMBER,
    SORTS,
    Key,
    Sort,
    check_row,
    decode_channel,
    decode_filter,
    decode_member,
    filter_key,
    member_key,
    row_checksum,
)

NO_ROLE: Final = "member"
"""The role in a row that says no more than how long the membership was."""
_encode = msgspec.msgpack.Encoder().encode


class StoredRow(NamedTuple):
    """A row whose checksum holds: the id of the record that changed it last, and its columns."""

    rev: int
    data: bytes


class StateRows(LogDatabase):
    """Writes the rows. Within a transaction of the caller's, but for :meth:`drop_ended`."""

    def changed_by(self, record: Record) -> Record:
        """Write the rows of a record; return it with what the log itself puts in them.

        That is the number of members, and the channel's settings where the record leaves them
        as they are.

        Raises:
            LogDamaged: a row that it changes is not what was written.
        """
        state = record.state
        if state is None:
            return record
        if state.members or state.channel is not None:
            channel = self.counted(record.channel, state)
            state = msgspec.structs.replace(state, channel=channel)
            self.put(CHANNELS, (record.channel,), record.id, channel)
        for member in state.members:
            self.put_member(record.channel, record.id, member)
        for one in state.filters:
            self.put(FILTERS, filter_key(one), record.id, one)
        return with_state(record, state)

    def with_rows_of_now(self, record: Record) -> Record:
        """Return a record that gets another place with its rows as later records have left them.

        They are written as its own: in the order of ids it is behind those. A row that is no more
        has ended, and is none of the record's.

        Raises:
            LogDamaged: a row is not what was written.
        """
        state = record.state
        if state is None:
            return record
        channel = record.channel
        members = [
            decode_member(row.data)
            for one in state.members
            if (row := self._stored(MEMBERS, member_key(channel, one))) is not None
        ]
        filters = [
            decode_filter(row.data)
            for one in state.filters
            if (row := self._stored(FILTERS, filter_key(one))) is not None
        ]
        named = state.channel
        if named is not None and (known := self._stored(CHANNELS, (channel,))) is not None:
            named = decode_channel(known.data)
        return self.changed_by(
            with_state(record, StateChange(tuple(members), named, tuple(filters)))
        )

    def _stored(self, sort: Sort, key: Key) -> StoredRow | None:
        """Read a row and check it; ``None`` if there is none."""
        where = " AND ".join(f"{column}=?" for column in sort.key)
        row = self._db.execute(
            f"SELECT rev, {DATA}, crc FROM {sort.table} WHERE {where}", key
        ).fetchone()
        if row is None:
            return None
        check_row(sort, key, *row)
        return StoredRow(*row[:2])

    def drop_ended(self, floor: int, limit: int) -> int:
        """Delete memberships that ended at or below a position; how many went.

        None that says that its person must not join or write.
        """
        rows = self._read(
            "SELECT user, channel, joined FROM members WHERE droppable <= ?"
            " ORDER BY droppable LIMIT ?",
            (floor, limit),
        )
        if rows:
            with self._transaction():
                for key in rows:
                    self._write("DELETE FROM members WHERE user=? AND channel=? AND joined=?", key)
        return len(rows)

    def index_members(self) -> None:
        """Make the index of the members of a channel where the file has none; else write nothing.

        Raises:
            LogUnavailable: nothing was changed.
        """
        self._write(MEMBER_ORDER, ())

    def has_state(self) -> bool:
        """Whether there is any row."""
        return any(
            self._db.execute(f"SELECT EXISTS (SELECT 1 FROM {sort.table})").fetchone()[0]
            for sort in SORTS
        )

    def bad_state(self) -> Iterator[str]:
        """What is wrong with the rows, one sentence each."""
        for sort in SORTS:
            columns = ", ".join(sort.key)
            rows = self._db.execute(f"SELECT {columns}, rev, {DATA}, crc FROM {sort.table}")
            for row in rows:
                key, (rev, data, crc) = row[: len(sort.key)], row[len(sort.key) :]
                try:
                    check_row(sort, key, rev, data, crc)
                except LogDamaged as exc:
                    yield str(exc)

    def counted(self, channel: str, state: StateChange) -> Channel:
        """Return a channel's row as a change makes it, with the number of members after that."""
        row = self._stored(CHANNELS, (channel,))
        before = Channel() if row is None else decode_channel(row.data)
        after = before if state.channel is None else state.channel
        count = 0
        if not after.dissolved:
            count = before.count + sum(self._added(channel, member) for member in state.members)
        return msgspec.structs.replace(after, count=count)

    def _added(self, channel: str, member: Member) -> int:
        """By how many a row changes the number of members: that is what the newest of each say."""
        row = self._db.execute(NEWEST_MEMBER, (member.user, channel)).fetchone()
        if row is None:
            return int(member.is_present)
        joined = row[3]
        check_row(MEMBERS, (member.user, channel, joined), *row[:3])
        if member.joined < joined:
            return 0
        return member.is_present - decode_member(row[1]).is_present

    def put_member(self, channel: str, rev: int, member: Member) -> None:
        """Write a membership, unless the row that is there has a higher ``rev``."""
        key = member_key(channel, member)
        restricts = member.muted_until or member.banned_until or member.role != NO_ROLE
        droppable = member.left if member.left and not restricts else None
        data = _encode(member)
        self._write(
            "INSERT INTO members (user, channel, joined, droppable, rev, data, crc)"
            " VALUES (?,?,?,?,?,?,?) ON CONFLICT (user, channel, joined) DO UPDATE SET"
            " droppable=excluded.droppable, rev=excluded.rev, data=excluded.data,"
            " crc=excluded.crc WHERE excluded.rev >= rev",
            (*key, droppable, rev, data, row_checksum(MEMBERS, key, rev, data)),
        )

    def put(self, sort: Sort, key: Key, rev: int, row: object) -> None:
        """Write a row of another sort, unless the one that is there has a higher ``rev``."""
        data = _encode(row)
        columns = ", ".join(sort.key)
        marks = ",".join("?" * (len(key) + 3))
        self._write(
            f"INSERT INTO {sort.table} ({columns}, rev, data, crc) VALUES ({marks})"
            f" ON CONFLICT ({columns}) DO UPDATE SET"
            " rev=excluded.rev, data=excluded.data, crc=excluded.crc WHERE excluded.rev >= rev",
            (*key, rev, data, row_checksum(sort, key, rev, data)),
        )
