"""Rows of the state that the log itself keeps: members, channels, filters.

A record that changes this state carries the whole new rows in its envelope
(:class:`StateChange`), so that every program folds them, whatever the record's kind. Rows replace
rows: nothing is ever added to one.

A *member channel* (``,g:…``, ``,r:…``) is for its members, not for a set of participants. A
record of it whose audience is empty is for everybody with an interval that holds its id; the
record that begins an interval and the one that ends it are in it. A record of it with an
audience is for those that it names, and for nobody else.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from chatsvc.core.ids import MAX_ID
from chatsvc.core.participants import channel_key

MAX_ROWS: Final = 100
"""How many rows of each sort one record may change."""

THIS_RECORD: Final = -1
"""In a draft: the id that the record gets."""

GROUP_PREFIX: Final = ",g:"
ROOM_PREFIX: Final = ",r:"
PERSONAL_PREFIX: Final = ",u:"
_HASHED_PERSONAL_PREFIX: Final = ",u,"
_MAX_PERSONAL_BYTES: Final = len(PERSONAL_PREFIX) + 250
"""Above, the key has the id's hash. The longest user id gives a key that fits without it."""


BLOCK: Final = "block"
"""The sort of a :class:`Filter` that hides what a sender writes."""
LEFT: Final = "left"
"""The sort of a :class:`Filter` that leaves out a set."""


def is_member_channel(channel: str) -> bool:
    """Whether a channel is for its members: a group or a room."""
    return channel.startswith((GROUP_PREFIX, ROOM_PREFIX))


def is_personal_channel(channel: str) -> bool:
    """Whether a channel is a user's own."""
    return channel.startswith((PERSONAL_PREFIX, _HASHED_PERSONAL_PREFIX))


def personal_channel(user: str) -> str:
    """Return the key of a user's own channel; a long id stands in it as its SHA-256 in hex."""
    channel = PERSONAL_PREFIX + user
    raw = channel.encode()
    if len(raw) <= _MAX_PERSONAL_BYTES:
        return channel
    return _HASHED_PERSONAL_PREFIX + hashlib.sha256(user.encode()).hexdigest()


def member_key(channel: str, user: str) -> str:
    """Return the key that records touch which change one person's membership."""
    return f"m/{channel}/{user}"


def roster_key(channel: str) -> str:
    """Return the key that records touch which change the number of members, or who is an admin."""
    return f"r/{channel}"


def settings_key(channel: str) -> str:
    """Return the key that records touch which change a channel's settings, or end it."""
    return f"s/{channel}"


def groups_key(user: str) -> str:
    """Return the key that records touch which begin a user's membership of a group."""
    return f"g/{user}"


def is_audience_of(channel: str, audience: tuple[str, ...]) -> bool:
    """Whether these are the people of a set, or the person of a channel of one's own."""
    if len(audience) == 1 and personal_channel(audience[0]) == channel:
        return True
    return bool(audience) and channel_key(audience) == channel


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One person's membership of a channel, from one join on.

    Args:
        user: whose it is.
        joined: the id of the record that began it. 0: the person never was a member, and only
            ``banned_until`` says something.
        left: the id of the record that ended it; 0: it goes on.
        role: of the person while it goes on.
        visible_from: the lowest id that pages, search and quotes show.
        muted_until: Unix ms; the person must not write before.
        banned_until: Unix ms; the person must not join before.
    """

    user: str
    joined: int
    left: int = 0
    role: str = "member"
    visible_from: int = 0
    muted_until: int = 0
    banned_until: int = 0

    @property
    def is_present(self) -> bool:
        """Whether it goes on."""
        return self.joined != 0 and self.left == 0

    def at(self, record_id: int) -> Member:
        """Return the row with the record's id in the place of :data:`THIS_RECORD`."""
        if THIS_RECORD not in (self.joined, self.left, self.visible_from):
            return self
        joined, left, visible_from = (
            record_id if value == THIS_RECORD else value
            for value in (self.joined, self.left, self.visible_from)
        )
        return msgspec.structs.replace(self, joined=joined, left=left, visible_from=visible_from)


class Channel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a member channel as a whole.

    Args:
        count: how many members it has. The log counts them; in a draft it says nothing.
        settings: a JSON object, for the features that know its members.
        dissolved: the id of the record that ended every membership of it; 0: it exists.
    """

    count: int = 0
    settings: bytes = b"{}"
    dissolved: int = 0


class Filter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a user does not receive: ids from ``since`` on and below ``until`` (0: no end).

    Args:
        user: who does not receive it.
        sort: :data:`BLOCK` of a sender, or :data:`LEFT` of a set.
        of: the sender's id, or the channel's key.
        since: an id.
        until: an id, or 0.
    """

    user: str
    sort: str
    of: str
    since: int
    until: int = 0

    def at(self, record_id: int) -> Filter:
        """Return the row with the record's id in the place of :data:`THIS_RECORD`."""
        since, until = (
            record_id if value == THIS_RECORD else value for value in (self.since, self.until)
        )
        return msgspec.structs.replace(self, since=since, until=until)


class RequestKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The idempotency key of one of the requests that became one record, with its digest."""

    sender: str
    client_id: str
    digest: bytes


class StateChange(msgspec.Struct, frozen=True, gc=False):
    """The rows that a record changes; ``members`` and ``channel`` are of the record's channel.

    Each sort has at most :data:`MAX_ROWS`. A record that changes members has a ``channel`` too,
    with their new number, which the log puts there.
    """

    members: tuple[Member, ...] = ()
    channel: Channel | None = None
    filters: tuple[Filter, ...] = ()

    def at(self, record_id: int) -> StateChange:
        """Return the rows with the record's id in the place of :data:`THIS_RECORD`."""
        channel = self.channel
        if channel is not None and channel.dissolved == THIS_RECORD:
            channel = msgspec.structs.replace(channel, dissolved=record_id)
        members = tuple(one.at(record_id) for one in self.members)
        return StateChange(members, channel, tuple(one.at(record_id) for one in self.filters))


class Interval(NamedTuple):
    """The ids of a member channel that are for a user: ``first`` to ``last``, both included.

    ``visible_from`` is the lowest that pages show; it may be below ``first``.
    """

    channel: str
    first: int
    last: int
    visible_from: int

    def holds(self, record_id: int) -> bool:
        """Whether a record of the channel, without an audience, is for the user."""
        return self.first <= record_id <= self.last


def interval_of(channel: str, member: Member, dissolved: int = 0) -> Interval | None:
    """Return the interval of a membership, ``None`` where there never was one.

    Args:
        dissolved: as in :class:`Channel`: it ended what went on.
    """
    if not member.joined:
        return None
    last = member.left or dissolved or MAX_ID
    return Interval(channel, member.joined, last, member.visible_from)
