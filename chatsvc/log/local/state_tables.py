"""The tables of the log's own state in its file, and the checksums of their rows."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.errors import LogDamaged
from chatsvc.core.membership import Channel, Filter, Member
from chatsvc.log.local.columns import DATA

# A row of members is of no use once the tail's floor is at ``droppable``; NULL: it always is.
_TABLES: Final = """
CREATE TABLE members (
    user TEXT NOT NULL,
    channel TEXT NOT NULL,
    joined INTEGER NOT NULL,
    droppable INTEGER,
    rev INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (user, channel, joined)
) WITHOUT ROWID;
CREATE INDEX member_droppable ON members (droppable) WHERE droppable IS NOT NULL;
CREATE TABLE channels (
    channel TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE filters (
    user TEXT NOT NULL,
    sort TEXT NOT NULL,
    target TEXT NOT NULL,
    since INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    data BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (user, sort, target, since)
) WITHOUT ROWID;
"""
MEMBER_ORDER: Final = "CREATE INDEX IF NOT EXISTS member_order ON members (channel, joined, user)"
"""Makes the index of :data:`MEMBERS_AFTER`. It was not among the first tables of version 2."""
STATEMENTS: Final = (*_TABLES.split(";"), MEMBER_ORDER)

_encode = msgspec.msgpack.Encoder().encode
decode_member = msgspec.msgpack.Decoder(Member).decode
decode_channel = msgspec.msgpack.Decoder(Channel).decode
decode_filter = msgspec.msgpack.Decoder(Filter).decode


class Sort(NamedTuple):
    """A sort of rows: its table, and the columns of its key."""

    table: str
    key: tuple[str, ...]


MEMBERS: Final = Sort("members", ("user", "channel", "joined"))
CHANNELS: Final = Sort("channels", ("channel",))
FILTERS: Final = Sort("filters", ("user", "sort", "target", "since"))
SORTS: Final = (MEMBERS, CHANNELS, FILTERS)

Key = tuple[str | int, ...]
"""The values of a row's key, in the order of its sort's columns."""

NEWEST_MEMBER: Final = (
    f"SELECT rev, {DATA}, crc, joined FROM members WHERE user=? AND channel=?"
    " ORDER BY joined DESC LIMIT 1"
)
MEMBERS_AFTER: Final = (
    f"SELECT user, joined, rev, {DATA}, crc FROM members WHERE channel=?"
    " AND (joined, user) > (?, ?) ORDER BY joined, user LIMIT ?"
)
MEMBERSHIPS: Final = (
    f"SELECT channel, joined, rev, {DATA}, crc FROM members WHERE user=? ORDER BY channel, joined"
)
ONE_CHANNEL: Final = f"SELECT rev, {DATA}, crc FROM channels WHERE channel=?"


def member_key(channel: str, member: Member) -> Key:
    """Return the key of a membership's row."""
    return member.user, channel, member.joined


def filter_key(one: Filter) -> Key:
    """Return the key of a filter's row."""
    return one.user, one.sort, one.of, one.since


def row_checksum(sort: Sort, key: Key, rev: int, data: bytes) -> int:
    """Return the CRC-32 of a row and of its key: it detects changed rows and moved ones."""
    return zlib.crc32(data, zlib.crc32(_encode((sort.table, key, rev))))


def check_row(sort: Sort, key: Key, rev: int, data: bytes, crc: int) -> None:
    """Check that a row is what was written.

    Raises:
        LogDamaged: it is not; names it.
    """
    if row_checksum(sort, key, rev, data) != crc:
        raise LogDamaged(f"a row of {sort.table}, {key!r}, fails its checksum")
