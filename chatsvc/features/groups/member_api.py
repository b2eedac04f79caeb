"""``/api/groups/{id}/members``: the operations on memberships."""

from __future__ import annotations

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LogUnavailable,
)
from chatsvc.core.ids import format_id, parse_id
from chatsvc.core.limits import Limits
from chatsvc.core.participants import check_user_id
from chatsvc.features.groups.members import GroupMembers, MemberEntry
from chatsvc.features.groups.model import (
    EXAMPLE_ID,
    GROUP_ID,
    MEMBERS_AFTER,
    WRITE_ERRORS,
    Done,
    GroupMember,
    MemberFields,
    MemberPath,
    Members,
    MembersRequest,
)
from chatsvc.features.groups.service import channel_of

_FIRST = (0, "")


def operations(members: GroupMembers, limits: Limits) -> tuple[Operation, ...]:
    """Return the operations."""
    return (_page(members, limits), _put(members, limits), _remove(members, limits))


def _page(members: GroupMembers, limits: Limits) -> Operation:
    def check(caller: Caller, request: MembersRequest) -> tuple[int, str]:
        fields.check_page_limit(request.limit, limits)
        return _read_after(request.after) if request.after else _FIRST

    async def handle(caller: Caller, request: MembersRequest) -> Reply:
        after = check(caller, request)
        page = members.page(channel_of(request.id), caller.user, after, request.limit)
        following = None
        if page.after is not None:
            joined, user = page.after
            following = f"{format_id(joined)}.{user}"
        found = [_answer(one) for one in page.members]
        return Reply(200, Members(members=found, after=following))

    return Operation(
        name="list_members",
        method="GET",
        path="/api/groups/{id}/members",
        summary="The members of a group",
        access=USER,
        request=MembersRequest,
        responses={200: ("The page, in the order in which they joined.", Members)},
        errors=(Forbidden, LogUnavailable),
        handler=handle,
        check=check,
        tag="groups",
        bounds={
            "id": GROUP_ID,
            "limit": fields.page_limit(limits),
            "after": MEMBERS_AFTER,
        },
        example={"id": EXAMPLE_ID},
    )


def _read_after(text: str) -> tuple[int, str]:
    joined, dot, user = text.partition(".")
    try:
        if not dot:
            raise ValueError("it has no dot")
        return parse_id(joined), user
    except ValueError:
        detail = "after must be that of the page before"
        raise Invalid.at("/after", "bad_cursor", detail) from None


def _put(members: GroupMembers, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: MemberFields, path: MemberPath) -> Reply:
        check_user_id(path.user, "/user", limits.user_id_characters)
        channel = channel_of(path.id)
        return Reply(200, _answer(await members.put(channel, caller.user, path.user, request.role)))

    return Operation(
        name="put_member",
        method="PUT",
        path="/api/groups/{id}/members/{user}",
        summary="Add a member, or change a role",
        description=(
            "Admins and moderators add members, and admins change roles. Where `join` is `open`, "
            "everybody may add themselves. Who is a member already stays one."
        ),
        access=USER,
        request=MemberFields,
        path_fields=MemberPath,
        body_optional=True,
        responses={200: ("The membership.", GroupMember)},
        errors=(*WRITE_ERRORS, Conflict),
        handler=handle,
        tag="groups",
        bounds={
            "id": GROUP_ID,
            "user": fields.user_id(limits),
            "role": {"description": "The role that the member is to have."},
        },
        example={"id": EXAMPLE_ID, "user": "bob", "role": "moderator"},
    )


def _remove(members: GroupMembers, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: MemberPath) -> Reply:
        check_user_id(request.user, "/user", limits.user_id_characters)
        record_id = await members.remove(channel_of(request.id), caller.user, request.user)
        return Reply(200, Done(id=format_id(record_id) if record_id else None))

    return Operation(
        name="remove_member",
        method="DELETE",
        path="/api/groups/{id}/members/{user}",
        summary="Remove a member, or leave",
        description=(
            "Everybody may leave. Admins and moderators remove members, and admins remove any. "
            "When the last admin leaves, the senior moderator becomes one, or the senior member; "
            "when the last member leaves, the group ends."
        ),
        access=USER,
        request=MemberPath,
        responses={200: ("The membership has ended.", Done)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID, "user": fields.user_id(limits)},
        example={"id": EXAMPLE_ID, "user": "bob"},
    )


def _answer(one: MemberEntry) -> GroupMember:
    return GroupMember(user=one.user, role=one.role, joined=format_id(one.joined))
