"""What a group is like, and who leads it: the settings in the row of its channel."""

from __future__ import annotations

import enum
import unicodedata
from typing import Final

import msgspec

from chatsvc.core.errors import Invalid
from chatsvc.core.membership import Channel

MAX_NAME: Final = 100
MAX_AVATAR: Final = 1000
MAX_LEADERS: Final = 100
"""The maximum number of admins, and of moderators: they stand in the row of the channel."""


INVITED: Final = "invited"
"""The role in the row of who is invited, and is no member."""


class Role(enum.StrEnum):
    """What a member may do.

    Everybody reads, writes, and leaves. A moderator also adds and removes members; an admin also
    changes roles and settings, and deletes the group.
    """

    ADMIN = "admin"
    MODERATOR = "moderator"
    MEMBER = "member"


class HistoryPolicy(enum.StrEnum):
    """What a new member may read: everything, or what is sent from the join on."""

    ALL = "all"
    FROM_JOIN = "from_join"


class JoinPolicy(enum.StrEnum):
    """Who becomes a member: who is added, or whoever knows the group's id."""

    INVITE = "invite"
    OPEN = "open"


class InviteLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A link by which people become members.

    Args:
        secret: 128 bits in hex.
        created_by: the admin or moderator who made it.
        expires_ms: Unix ms; 0: it has no end.
        uses_left: how many may still join by it; -1: any number.
    """

    secret: str
    created_by: str
    expires_ms: int = 0
    uses_left: int = -1

    def is_good(self, now_ms: int) -> bool:
        """Whether it can be used."""
        return self.uses_left != 0 and not 0 < self.expires_ms <= now_ms


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The settings of a group, as they are persisted.

    ``admins`` and ``moderators`` are in the order in which they became that. A group without a
    name has lost its row in a restore: its members can read and leave it.
    """

    name: str = ""
    avatar: str = ""
    history: HistoryPolicy = HistoryPolicy.ALL
    join: JoinPolicy = JoinPolicy.INVITE
    admins: tuple[str, ...] = ()
    moderators: tuple[str, ...] = ()
    links: tuple[InviteLink, ...] = ()

    def role_of(self, user: str) -> Role:
        """Return the role of a member."""
        if user in self.admins:
            return Role.ADMIN
        return Role.MODERATOR if user in self.moderators else Role.MEMBER

    def with_role(self, user: str, role: Role) -> GroupSettings:
        """Return the settings in which a user has a role, and no other.

        Raises:
            Invalid: at ``/role``: too many have it.
        """
        admins = tuple(one for one in self.admins if one != user)
        moderators = tuple(one for one in self.moderators if one != user)
        if role is Role.ADMIN:
            admins = _with(admins, user, "admins")
        elif role is Role.MODERATOR:
            moderators = _with(moderators, user, "moderators")
        return msgspec.structs.replace(self, admins=admins, moderators=moderators)

    def with_link_used(self, link: InviteLink, times: int) -> GroupSettings:
        """Return the settings after so many joined by a link that has a number of uses."""
        used = msgspec.structs.replace(link, uses_left=link.uses_left - times)
        links = tuple(used if one == link else one for one in self.links)
        return msgspec.structs.replace(self, links=tuple(one for one in links if one.uses_left))


def _with(leaders: tuple[str, ...], user: str, name: str) -> tuple[str, ...]:
    if len(leaders) >= MAX_LEADERS:
        detail = f"a group must have at most {MAX_LEADERS} {name}"
        raise Invalid.at("/role", "too_many", detail, MAX_LEADERS)
    return (*leaders, user)


_decode = msgspec.json.Decoder(GroupSettings).decode
encode_settings = msgspec.json.Encoder().encode


def settings_of(channel: Channel) -> GroupSettings:
    """Return the settings in the row of a group's channel."""
    return _decode(channel.settings)


def check_name(name: str) -> None:
    """Check that a name has 1 to 100 characters, none of them a control character.

    Raises:
        Invalid: at ``/name``.
    """
    if not name.strip():
        raise Invalid.at("/name", "too_short", "name must have at least 1 character", 1)
    if len(name) > MAX_NAME:
        detail = f"name must have at most {MAX_NAME} characters"
        raise Invalid.at("/name", "too_long", detail, MAX_NAME)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        detail = "name must not contain control characters"
        raise Invalid.at("/name", "control_character", detail)


def check_avatar(avatar: str) -> None:
    """Check that an avatar has at most 1,000 characters, none of them a control character.

    Raises:
        Invalid: at ``/avatar``.
    """
    if len(avatar) > MAX_AVATAR:
        detail = f"avatar must have at most {MAX_AVATAR} characters"
        raise Invalid.at("/avatar", "too_long", detail, MAX_AVATAR)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in avatar):
        detail = "avatar must not contain control characters"
        raise Invalid.at("/avatar", "control_character", detail)
