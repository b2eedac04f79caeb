"""Drafts of groups: joins, ends of memberships, and what is said in them."""

from __future__ import annotations

from typing import Final

from chatsvc.core.change import draft_change
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import THIS_RECORD, Channel, Member, StateChange
from chatsvc.core.message import draft_message
from chatsvc.core.record import Draft

GROUP: Final = ",g:team"
MEMBER: Final = Kind(name="member")
"""A change of who is a member."""


def member_change(
    *members: Member,
    channel: str = GROUP,
    sender: str = "alice",
    state: Channel | None = None,
    audience: tuple[str, ...] = (),
    client_id: str | None = None,
) -> Draft:
    """A record that changes these rows."""
    return draft_change(
        MEMBER,
        channel=channel,
        audience=audience,
        sender=sender,
        fields={"users": [one.user for one in members]},
        client_id=client_id,
        state=StateChange(members, state),
    )


def joining(*users: str, channel: str = GROUP, role: str = "member") -> Draft:
    """These users become members, who see what follows."""
    rows = (Member(user, THIS_RECORD, 0, role, THIS_RECORD) for user in users)
    return member_change(*rows, channel=channel)


def leaving(*members: Member, channel: str = GROUP) -> Draft:
    """Memberships that go on end."""
    rows = (Member(one.user, one.joined, THIS_RECORD, "member", 0) for one in members)
    return member_change(*rows, channel=channel)


def said(content: str, *, channel: str = GROUP, sender: str = "alice") -> Draft:
    """A message to the members of a channel."""
    return draft_message(
        channel=channel, participants=(), sender=sender, content=content, origin="laptop"
    )
