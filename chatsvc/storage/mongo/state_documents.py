"""Rows of the log's state as MongoDB documents: members, channels and filters, in one collection.

A document's ``_id`` begins with the letter of its sort and is the row's key, so that a batch is
one call, and all rows are one walk: ``c<channel>``, ``f<user>,<sort>,<of>,<since>`` and
``m<channel>,<user>,<joined>``. No user id has a comma, and ids have 16 digits, so no two keys are
the same text. Ids are texts here as everywhere in MongoDB: they have 64 bits, its integers 63.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.core.membership import Channel, Filter, Member
from chatsvc.core.state_rows import ChannelRow, FilterRow, MemberRow, StateRow
from chatsvc.storage.mongo.bulk import Update
from chatsvc.storage.mongo.collections import HIGHEST, LOWEST
from chatsvc.storage.mongo.documents import Document
from chatsvc.storage.state_rows import newest_rows

_LATEST_MS: Final = (1 << 63) - 1
"""The highest integer that MongoDB holds. As a time it is as far away as all above it."""

INTERVAL_FIELDS: Final[Document] = {
    "_id": 0,
    "channel": 1,
    "joined": 1,
    "last": 1,
    "visible_from": 1,
}
"""What :func:`to_member` needs for an interval; an index has all of them."""


def updates_of(rows: Iterable[StateRow]) -> list[Update]:
    """One write for each row, by its newest; it replaces none that is as new or newer."""
    updates: list[Update] = []
    for row in newest_rows(rows):
        key, document = _to_document(row)
        updates.append(Update({"_id": key, "rev": {"$lt": document["rev"]}}, {"$set": document}))
    return updates


def to_row(document: Document) -> StateRow:
    """The row that a document holds."""
    rev, sort = int(document["rev"], 16), document["_id"][0]
    if sort == "m":
        return MemberRow(document["channel"], to_member(document), rev)
    if sort == "c":
        settings = bytes(document["settings"])
        state = Channel(document["count"], settings, int(document["dissolved"], 16))
        return ChannelRow(document["channel"], state, rev)
    if sort == "f":
        since, until = (int(document[name], 16) for name in ("since", "until"))
        one = Filter(document["user"], document["sort"], document["of"], since, until)
        return FilterRow(one, rev)
    raise ValueError(f"no sort of row: {sort}")


def to_member(document: Document) -> Member:
    """The membership that a document holds, as far as its fields were asked for."""
    last = int(document["last"], 16)
    return Member(
        document.get("user", ""),
        int(document["joined"], 16),
        0 if last == MAX_ID else last,
        document.get("role", ""),
        int(document["visible_from"], 16),
        int(document.get("muted_until", 0)),
        int(document.get("banned_until", 0)),
    )


def channel_id(channel: str) -> str:
    """The ``_id`` of a channel's row."""
    return f"c{channel}"


def memberships_of(user: str, channel: str) -> Document:
    """The condition that a document is a membership of this user in this channel."""
    of = f"m{channel},{user},"
    # A ban of somebody who never was a member is a row as well, and no interval.
    return {"_id": {"$gt": of + LOWEST, "$lte": of + HIGHEST}}


def _to_document(row: StateRow) -> tuple[str, Document]:
    """Its key, and all of its other fields."""
    document: Document = {"rev": format_id(row.rev)}
    if isinstance(row, MemberRow):
        member = row.member
        joined = format_id(member.joined)
        return f"m{row.channel},{member.user},{joined}", document | {
            "channel": row.channel,
            "user": member.user,
            "joined": joined,
            # Of a membership that goes on, so that an index finds those that reach an id.
            "last": format_id(member.left or MAX_ID),
            "visible_from": format_id(member.visible_from),
            "role": member.role,
            "muted_until": min(member.muted_until, _LATEST_MS),
            "banned_until": min(member.banned_until, _LATEST_MS),
        }
    if isinstance(row, ChannelRow):
        return channel_id(row.channel), document | {
            "channel": row.channel,
            "count": row.state.count,
            "settings": row.state.settings,
            "dissolved": format_id(row.state.dissolved),
        }
    one = row.filter
    since = format_id(one.since)
    return f"f{one.user},{one.sort},{one.of},{since}", document | {
        "user": one.user,
        "sort": one.sort,
        "of": one.of,
        "since": since,
        "until": format_id(one.until),
    }
