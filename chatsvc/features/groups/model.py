"""The requests and responses of groups."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from chatsvc.api import fields
from chatsvc.core.errors import Busy, Forbidden, LogUnavailable, TooManyRequests
from chatsvc.core.limits import Limits
from chatsvc.core.membership import MAX_ROWS
from chatsvc.features.groups.settings import (
    MAX_AVATAR,
    MAX_NAME,
    HistoryPolicy,
    JoinPolicy,
    Role,
)

WRITE_ERRORS: Final = (Forbidden, TooManyRequests, Busy, LogUnavailable)
"""What every change of a group may raise."""

EXAMPLE_ID: Final = "6f1c3d5e7a9b0c2d4e6f8091a2b3c4d5"
RecordId = Annotated[str, msgspec.Meta(examples=["019aa5b1c2d30000"])]

GROUP_ID: Final[fields.Keywords] = {"description": "The group's id.", "pattern": "^[0-9a-f]{32}$"}
LINK_CODE: Final[fields.Keywords] = {
    "description": "The code of a link.",
    "minLength": 1,
    "maxLength": 64,
}
NAME: Final[fields.Keywords] = {
    "minLength": 1,
    "maxLength": MAX_NAME,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
    "description": "Not white space alone.",
}
AVATAR: Final[fields.Keywords] = {
    "maxLength": MAX_AVATAR,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
    "description": "An address or a name of the application's; not interpreted.",
}
MEMBERS_AFTER: Final[fields.Keywords] = {
    "description": "That of the page before.",
    "pattern": r"^([0-9a-f]{16}\.[^\u0000-\u001f\u007f-\u009f]*)?$",
}
HISTORY: Final[fields.Keywords] = {
    "description": "What a new member may read: everything, or what is sent from the join on."
}
JOIN: Final[fields.Keywords] = {
    "description": "Who becomes a member: who is added, or whoever knows the group's id."
}


class NewGroup(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A group to create; the caller is its admin, and ``members`` are the others."""

    name: str
    members: list[str] = []
    avatar: str = ""
    history: HistoryPolicy = HistoryPolicy.ALL
    join: JoinPolicy = JoinPolicy.INVITE
    client_id: str | None = None


class GroupFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed of a group; what is left out stays as it is."""

    name: str | None = None
    avatar: str | None = None
    history: HistoryPolicy | None = None
    join: JoinPolicy | None = None


class GroupPath(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The group."""

    id: str


class MemberPath(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The group and the user."""

    id: str
    user: str


class MemberFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The role that the member is to have; without it, a member keeps the one that there is."""

    role: Role | None = None


class GroupsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the caller's groups; ``after`` of a response asks for the next."""

    limit: int = fields.DEFAULT_PAGE
    after: str = ""


class MembersRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page of the members; ``after`` of a response asks for the next."""

    id: str
    limit: int = fields.DEFAULT_PAGE
    after: str = ""


class Group(msgspec.Struct, kw_only=True):
    """A group, as the caller has it.

    ``rev`` is the id of the record that changed it last.
    """

    id: Annotated[str, msgspec.Meta(examples=[EXAMPLE_ID])]
    channel: Annotated[str, msgspec.Meta(examples=[f",g:{EXAMPLE_ID}"])]
    name: str
    avatar: str
    history: HistoryPolicy
    join: JoinPolicy
    member_count: int
    role: Role
    rev: RecordId


class Groups(msgspec.Struct, kw_only=True):
    """A page of the caller's groups, in the order of their ids.

    ``after`` asks for the next page; ``null``: these are the last.
    """

    groups: list[Group]
    after: str | None


class GroupMember(msgspec.Struct, kw_only=True):
    """A member; ``joined`` is the id of the record that began the membership."""

    user: str
    role: Role
    joined: RecordId


class Members(msgspec.Struct, kw_only=True):
    """A page of the members, in the order in which they joined.

    ``after`` asks for the next page; ``null``: these are the last.
    """

    members: list[GroupMember]
    after: str | None


class Done(msgspec.Struct, kw_only=True):
    """The id of the record that did it; ``null`` where it is not known any more."""

    id: RecordId | None


def new_group_bounds(limits: Limits) -> dict[str, Any]:
    """Return the schemas of the fields of :class:`NewGroup`."""
    return {
        "name": NAME,
        "members": {"maxItems": MAX_ROWS},
        "members/items": fields.user_id(limits),
        "avatar": AVATAR,
        "history": HISTORY,
        "join": JOIN,
        "client_id": fields.CLIENT_ID,
    }
