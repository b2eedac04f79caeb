"""Rows of conversations in the embedded store: their numbers, their members, their ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chatsvc.core.audience import is_large
from chatsvc.core.membership import is_member_channel, is_personal_channel
from chatsvc.core.record import Record
from chatsvc.storage.sqlite.participants import encode_participants, participants_in
from chatsvc.storage.sqlite.statements import NAMED, insert_rows, json_list


class Stored(NamedTuple):
    """A conversation that has a number. ``encoded`` is its users, as bodies name them.

    A group or a room has no users, and is large whatever the number of its members. So is a user's
    own channel: most of its records are of ``latest`` kinds, and would move in the inbox.
    ``is_of_members``: whether it is a group's or a room's.
    """

    number: int
    large: bool
    users: tuple[str, ...]
    encoded: bytes
    is_of_members: bool

    @classmethod
    def of(cls, number: int, large: bool, users: tuple[str, ...], encoded: bytes) -> Stored:
        """One with these values. A set is large only with users."""
        return cls(number, large, users, encoded, not users and large)

    def named_in(self, record: Record) -> tuple[str, ...]:
        """Whom a record of a group or a room is for alone; nobody, where it is for the members."""
        return record.audience if self.is_of_members else ()


def numbered(db: sqlite3.Connection, records: Sequence[Record]) -> dict[str, Stored]:
    """The conversations of the records, by channel; those that are new begin.

    A set's participants are the audience of its first record, for good, and so is whether it is
    large.
    """
    audiences: dict[str, tuple[str, ...]] = {}
    for record in records:
        if record.channel not in audiences:
            of_members = is_member_channel(record.channel)
            audiences[record.channel] = () if of_members else record.audience
    return _numbered(db, audiences)


def numbers_of(db: sqlite3.Connection, channels: Iterable[str]) -> dict[str, int]:
    """The numbers of groups and rooms; those that are new begin."""
    found = _numbered(db, dict.fromkeys(channels, ()))
    return {channel: one.number for channel, one in found.items()}


def _numbered(
    db: sqlite3.Connection, audiences: Mapping[str, tuple[str, ...]]
) -> dict[str, Stored]:
    known: dict[str, Stored] = {}
    found = db.execute(
        f"SELECT number, large, channel, participants FROM conversations WHERE channel IN {NAMED}",
        (json_list(audiences),),
    )
    for number, large, channel, encoded in found:
        users = audiences[channel]
        if encode_participants(users) != encoded:
            users = participants_in(encoded).users
        known[channel] = Stored.of(number, bool(large), users, encoded)
    new = {channel: users for channel, users in audiences.items() if channel not in known}
    return known | _begin(db, new) if new else known


def _begin(db: sqlite3.Connection, new: Mapping[str, tuple[str, ...]]) -> dict[str, Stored]:
    """Number conversations, and write who is in them."""
    highest = db.execute("SELECT max(number) FROM conversations").fetchone()[0] or 0
    begun = {
        channel: Stored.of(
            number,
            is_large(users) or is_member_channel(channel) or is_personal_channel(channel),
            users,
            encode_participants(users),
        )
        for number, (channel, users) in enumerate(new.items(), highest + 1)
    }
    insert_rows(
        db,
        "conversations (number, large, channel, participants)",
        [(one.number, one.large, channel, one.encoded) for channel, one in begun.items()],
        4,
    )
    insert_rows(
        db,
        "members (user, large, conversation)",
        [(user, one.large, one.number) for one in begun.values() for user in one.users],
        3,
    )
    return begun


def move_on(db: sqlite3.Connection, ends: Mapping[int, tuple[int, int]]) -> None:
    """Move conversations on; none goes back.

    Args:
        ends: by the conversation's number, its newest message, 0 for none, and its newest record.
    """
    insert_rows(
        db,
        "conversation_ends (conversation, last_id, last_record)",
        [(number, *last) for number, last in ends.items()],
        3,
        "ON CONFLICT (conversation) DO UPDATE SET"
        " last_id = max(last_id, excluded.last_id),"
        " last_record = max(last_record, excluded.last_record)",
    )
