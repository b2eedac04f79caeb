"""The draft of a change: a record of another kind than a message."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from chatsvc.core.kinds import Kind
from chatsvc.core.membership import MAX_ROWS, StateChange, is_audience_of, is_member_channel
from chatsvc.core.record import Draft

_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="sorted").encode
_RESERVED = frozenset(
    {"type", "id", "created_at", "member_count", "channel", "sender", "client_id"}
)


def draft_change(
    kind: Kind,
    *,
    channel: str,
    audience: tuple[str, ...],
    sender: str,
    fields: Mapping[str, Any],
    target: str = "",
    origin: str = "",
    client_id: str | None = None,
    state: StateChange | None = None,
) -> Draft:
    """Return a change for the log. The caller has checked every value.

    Args:
        kind: one that does not count: a message is drafted by ``core/message.py``.
        channel: the conversation.
        audience: sorted: all who receive it, the sender included. Of a group or a room empty,
            for its members.
        sender: the user who causes it.
        fields: what its frame has beside the members of every record.
        target: what it is about, for a kind that is ``latest``.
        origin: the connection or device that it comes from.
        client_id: recognizes a retry; the same fields under it are the same change. One that a
            newer of a ``latest`` kind has replaced is known for as long as the log remembers it.
        state: the rows of the log's own state that it changes, at most
            :data:`~chatsvc.core.membership.MAX_ROWS` of each sort.

    Raises:
        ValueError: the kind counts, the audience is not the set that the channel names, there
            are too many rows, members of what is no group or room, members that a blockable kind
            changes, or several memberships of one person that went on, or a field has the name of a
            member of every record.
    """
    _check(kind, channel, audience, fields)
    if state is not None:
        _check_state(kind, channel, state)
    digest = hashlib.blake2b(_canonical([kind.name, target, fields]), digest_size=16)
    return Draft(
        kind=kind.name,
        channel=channel,
        audience=audience,
        sender=sender,
        origin=origin,
        client_id=client_id,
        digest=digest.digest(),
        rest=_rest_of(channel, sender, client_id, fields),
        target=target,
        state=state,
    )


def _rest_of(channel: str, sender: str, client_id: str | None, fields: Mapping[str, Any]) -> bytes:
    # In the order of SharedMembers: the persisted form leaves out what the envelope says.
    members = {"channel": channel, "sender": sender}
    if client_id is not None:
        members["client_id"] = client_id
    rest = _encode(members)
    # Sorted as for the digest: the answer to a retry is made of the retry, and is the first's.
    return rest[:-1] + b"," + _canonical(fields)[1:] if fields else rest


def _check(kind: Kind, channel: str, audience: tuple[str, ...], fields: Mapping[str, Any]) -> None:
    if kind.counts:
        raise ValueError(f"kind {kind.name!r} must not count: it would be read as a message")
    if is_member_channel(channel):
        if list(audience) != sorted(set(audience)):
            raise ValueError("the audience must be sorted, each once")
    elif not is_audience_of(channel, audience):
        raise ValueError("the audience must be the participants of the channel, sorted")
    if not _RESERVED.isdisjoint(fields):
        raise ValueError(f"fields must not be named {', '.join(sorted(_RESERVED & set(fields)))}")


def _check_state(kind: Kind, channel: str, state: StateChange) -> None:
    if max(len(state.members), len(state.filters)) > MAX_ROWS:
        raise ValueError(f"a record must change at most {MAX_ROWS} rows of a sort")
    if (state.members or state.channel is not None) and not is_member_channel(channel):
        raise ValueError("members and a channel must be changed by a record of their group or room")
    if kind.blockable and (state.members or state.channel is not None):
        raise ValueError(f"kind {kind.name!r} must not be blockable: it changes members")
    if len({(one.user, one.joined) for one in state.members}) != len(state.members):
        raise ValueError("a record must change a membership at most once")
    # The number of members is told by the newest of each: what had ended before counts nothing.
    current = [one.user for one in state.members if one.joined and one.left <= 0]
    if len(set(current)) != len(current):
        raise ValueError("a record must change at most one membership of a person that went on")
