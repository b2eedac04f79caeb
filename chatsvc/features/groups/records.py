"""The records of groups: their kinds, their frames and their drafts."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from chatsvc.core.change import draft_change
from chatsvc.core.kinds import Kind
from chatsvc.core.membership import (
    GROUP_PREFIX,
    THIS_RECORD,
    Channel,
    Member,
    StateChange,
    personal_channel,
)
from chatsvc.core.record import Draft
from chatsvc.features.groups.settings import GroupSettings, HistoryPolicy, encode_settings

GROUP: Final = Kind(name="group", blockable=False)
MEMBERSHIP: Final = Kind(name="membership", blockable=False)
INVITATION: Final = Kind(name="invitation")

_FIRST_ID: Final = 1
"""Below every record."""


class GroupChange(enum.StrEnum):
    """What was done to a group."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    LINKS = "links"
    """An invite link was created or revoked: for admins and moderators alone."""


class MembershipChange(enum.StrEnum):
    """What was done to memberships."""

    ADDED = "added"
    JOINED = "joined"
    LEFT = "left"
    REMOVED = "removed"
    ROLE = "role"
    INVITED = "invited"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    BANNED = "banned"
    UNBANNED = "unbanned"


class InvitationChange(enum.StrEnum):
    """What became of an invitation."""

    INVITED = "invited"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class GroupFrame(msgspec.Struct, tag="group", kw_only=True, omit_defaults=True):
    """A group was created, changed or deleted; ``users`` are the members of a new one."""

    id: str
    created_at: str
    member_count: int
    channel: str
    sender: str
    change: GroupChange
    name: str
    avatar: str
    history: HistoryPolicy
    join: str
    users: list[str] = []
    client_id: str | None = None


class MembershipFrame(msgspec.Struct, tag="membership", kw_only=True, omit_defaults=True):
    """Members came or went, or have another role.

    ``promoted`` is who became an admin because the last one left.
    """

    id: str
    created_at: str
    member_count: int
    channel: str
    sender: str
    change: MembershipChange
    users: list[str]
    role: str = ""
    promoted: str = ""


class InvitationFrame(msgspec.Struct, tag="invitation", kw_only=True):
    """The user is invited to a group, has declined, or is not invited any more.

    ``channel`` is the user's own; ``group`` is the group's id.
    """

    id: str
    created_at: str
    channel: str
    sender: str
    change: InvitationChange
    group: str
    name: str
    avatar: str


def draft_group(
    change: GroupChange,
    *,
    channel: str,
    sender: str,
    settings: GroupSettings,
    members: Sequence[Member] = (),
    audience: tuple[str, ...] = (),
    dissolved: bool = False,
    client_id: str | None = None,
) -> Draft:
    """Return the draft of a change of a group as a whole.

    Args:
        audience: whom it is for alone; empty: all members.
    """
    fields: dict[str, Any] = {
        "change": change,
        "name": settings.name,
        "avatar": settings.avatar,
        "history": settings.history,
        "join": settings.join,
    }
    if members:
        fields["users"] = [one.user for one in members]
    row = _channel(settings, dissolved)
    return draft_change(
        GROUP,
        channel=channel,
        audience=audience,
        sender=sender,
        fields=fields,
        client_id=client_id,
        state=StateChange(tuple(members), row),
    )


def draft_membership(
    change: MembershipChange,
    *,
    channel: str,
    sender: str,
    users: Sequence[str],
    members: Sequence[Member],
    audience: tuple[str, ...],
    settings: GroupSettings | None = None,
    role: str = "",
    promoted: str = "",
    dissolved: bool = False,
) -> Draft:
    """Return the draft of a change of memberships.

    Args:
        users: whom it names, without who is promoted.
        members: the new rows.
        audience: whom it is for alone; empty: all members.
        settings: the new ones; ``None``: they stay as they are.
        dissolved: whether the group ends with it; needs ``settings``.
    """
    fields: dict[str, Any] = {"change": change, "users": list(users)}
    if role:
        fields["role"] = role
    if promoted:
        fields["promoted"] = promoted
    row = None if settings is None else _channel(settings, dissolved)
    return draft_change(
        MEMBERSHIP,
        channel=channel,
        audience=audience,
        sender=sender,
        fields=fields,
        state=StateChange(tuple(members), row),
    )


def draft_invitation(
    change: InvitationChange, *, channel: str, sender: str, user: str, settings: GroupSettings
) -> Draft:
    """Return the draft of what a user is told of an invitation, in the channel of their own.

    Args:
        channel: of the group.
    """
    return draft_change(
        INVITATION,
        channel=personal_channel(user),
        audience=(user,),
        sender=sender,
        fields={
            "change": change,
            "group": channel.removeprefix(GROUP_PREFIX),
            "name": settings.name,
            "avatar": settings.avatar,
        },
    )


def _channel(settings: GroupSettings, dissolved: bool) -> Channel:
    return Channel(settings=encode_settings(settings), dissolved=THIS_RECORD if dissolved else 0)


def new_member(user: str, role: str, history: HistoryPolicy) -> Member:
    """Return the row of a membership that begins with its record."""
    visible_from = THIS_RECORD if history is HistoryPolicy.FROM_JOIN else _FIRST_ID
    return Member(user, THIS_RECORD, role=role, visible_from=visible_from)
