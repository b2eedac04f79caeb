"""By what size of its audience a record is listed by user, or by conversation.

A small audience has a row, and an entry in the tail, for each user and record: a user's newest
are one range. For a large one that would cost as much as it has people, so it is listed once, by
its conversation, and users' reads merge theirs (``docs/decisions/0020``).

Records to the members of a group or a room are listed by their channel, whatever the number of
members. A record of it that names whom it is for is found by those alone.
"""

from __future__ import annotations

from typing import Final

from chatsvc.core.membership import is_member_channel

INBOX_PARTICIPANTS: Final = 4
"""The largest audience with an entry for each user and record."""


def is_large(audience: tuple[str, ...]) -> bool:
    """Whether records to this audience are listed by conversation."""
    return len(audience) > INBOX_PARTICIPANTS


def names_readers(channel: str, audience: tuple[str, ...]) -> bool:
    """Whether a record of a group or a room is for those whom it names, not for the members."""
    return channel[:1] == "," and bool(audience) and is_member_channel(channel)


def places(audience: tuple[str, ...]) -> int:
    """In how many lists of the tail a record is: its conversation's, and each user's of few.

    One that names readers (:func:`names_readers`) is in each of theirs, and in no other.
    """
    return len(audience) + 1 if len(audience) <= INBOX_PARTICIPANTS else 1
