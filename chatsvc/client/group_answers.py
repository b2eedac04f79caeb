"""Groups, their members, invite links and bans, as the HTTP interface answers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

import msgspec

from chatsvc.client.decoding import TolerantDecoder

_T = TypeVar("_T", bound=msgspec.Struct)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group, as the caller has it.

    ``channel`` is its conversation: what is sent there goes to all members. ``role`` is the
    caller's: ``admin``, ``moderator`` or ``member``. ``history`` is what a new member may read
    (``all`` or ``from_join``), ``join`` who becomes one (``invite`` or ``open``). ``rev`` is the
    id of the record that changed it last. A newer server may have other words.
    """

    id: str
    channel: str
    name: str = ""
    avatar: str = ""
    history: str = ""
    join: str = ""
    member_count: int = 0
    role: str = ""
    rev: str = ""


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member; ``joined`` is the id of the record that began the membership."""

    user: str
    role: str = ""
    joined: str = ""


class GroupPage(NamedTuple):
    """Groups of the caller's, in the order of their ids.

    ``after`` asks for the next page; ``None``: these are the last.
    """

    groups: list[Group]
    after: str | None


class MemberPage(NamedTuple):
    """Members, in the order in which they joined; ``after`` as in :class:`GroupPage`."""

    members: list[GroupMember]
    after: str | None


class InviteLink(msgspec.Struct, frozen=True, kw_only=True):
    """An invite link; whoever has the ``code`` may join by it.

    ``expires_at`` (RFC 3339) is ``None`` where it has no end, ``uses_left`` where it may be used
    any number of times.
    """

    code: str
    created_by: str = ""
    expires_at: str | None = None
    uses_left: int | None = None


class GroupBan(msgspec.Struct, frozen=True, kw_only=True):
    """A ban; ``expires_at`` (RFC 3339) is ``None`` where it is for good."""

    user: str
    expires_at: str | None = None


class GroupInvitation(msgspec.Struct, frozen=True, kw_only=True):
    """A group that the caller is invited to, by its id."""

    id: str
    channel: str
    name: str = ""
    avatar: str = ""


class Groups(msgspec.Struct):
    """A page of groups, as it came."""

    groups: list[msgspec.Raw]
    after: str | None = None


class Members(msgspec.Struct):
    """A page of members, as it came."""

    members: list[msgspec.Raw]
    after: str | None = None


class Done(msgspec.Struct):
    """The record that did it, if it is known."""

    id: str | None = None


class Links(msgspec.Struct):
    """The links of a group, as they came."""

    links: list[msgspec.Raw]


class Invitations(msgspec.Struct):
    """The invitations of the caller, as they came."""

    invitations: list[msgspec.Raw]


read_group: Final = TolerantDecoder(Group)
read_groups: Final = TolerantDecoder(Groups)
read_member: Final = TolerantDecoder(GroupMember)
read_members: Final = TolerantDecoder(Members)
read_link: Final = TolerantDecoder(InviteLink)
read_links: Final = TolerantDecoder(Links)
read_invitation: Final = TolerantDecoder(GroupInvitation)
read_invitations: Final = TolerantDecoder(Invitations)
read_ban: Final = TolerantDecoder(GroupBan)
read_done: Final = TolerantDecoder(Done)


def known(entries: Iterable[msgspec.Raw], decode: TolerantDecoder[_T]) -> list[_T]:
    """Decode the entries of a page, without those in a form that is not known."""
    found = []
    for entry in entries:
        try:
            found.append(decode(bytes(entry)))
        except msgspec.DecodeError:
            continue  # of a newer server
    return found
