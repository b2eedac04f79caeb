"""``/api/groups/{id}/invitations`` and ``/api/groups/invitations``: the operations."""

from __future__ import annotations

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Conflict, LogUnavailable
from chatsvc.core.limits import Limits
from chatsvc.core.participants import check_user_id
from chatsvc.features.groups.invitations import GroupInvitations
from chatsvc.features.groups.model import EXAMPLE_ID, GROUP_ID, WRITE_ERRORS, MemberPath
from chatsvc.features.groups.service import channel_of, id_of


class InvitationsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """All of the caller's."""


class InvitationFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No fields."""


class InvitedUser(msgspec.Struct, kw_only=True):
    """The user whom it is about."""

    user: str


class InvitedTo(msgspec.Struct, kw_only=True):
    """A group that the caller is invited to; ``PUT`` of oneself as a member accepts."""

    id: str
    channel: str
    name: str
    avatar: str


class Invitations(msgspec.Struct, kw_only=True):
    """All invitations that are not answered, at most 100."""

    invitations: list[InvitedTo]


def operations(invitations: GroupInvitations, limits: Limits) -> tuple[Operation, ...]:
    """Return the operations."""
    return (_list(invitations), _invite(invitations, limits), _end(invitations, limits))


def _list(invitations: GroupInvitations) -> Operation:
    async def handle(caller: Caller, request: InvitationsRequest) -> Reply:
        found = [
            InvitedTo(
                id=id_of(channel), channel=channel, name=settings.name, avatar=settings.avatar
            )
            for channel, settings in invitations.listed(caller.user)
        ]
        return Reply(200, Invitations(invitations=found))

    return Operation(
        name="list_invitations",
        method="GET",
        path="/api/groups/invitations",
        summary="The groups that the caller is invited to",
        access=USER,
        request=InvitationsRequest,
        responses={200: ("Those that are not answered.", Invitations)},
        errors=(LogUnavailable,),
        handler=handle,
        tag="groups",
    )


def _invite(invitations: GroupInvitations, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: InvitationFields, path: MemberPath) -> Reply:
        check_user_id(path.user, "/user", limits.user_id_characters)
        await invitations.invite(channel_of(path.id), caller.user, path.user)
        return Reply(200, InvitedUser(user=path.user))

    return Operation(
        name="invite_user",
        method="PUT",
        path="/api/groups/{id}/invitations/{user}",
        summary="Invite a user to a group",
        description=(
            "For admins and moderators. The user accepts by becoming a member (`PUT` of oneself), "
            "and declines by `DELETE`."
        ),
        access=USER,
        request=InvitationFields,
        path_fields=MemberPath,
        body_optional=True,
        responses={200: ("The user is invited, or a member already.", InvitedUser)},
        errors=(*WRITE_ERRORS, Conflict),
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID, "user": fields.user_id(limits)},
        example={"id": EXAMPLE_ID, "user": "bob"},
    )


def _end(invitations: GroupInvitations, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: MemberPath) -> Reply:
        check_user_id(request.user, "/user", limits.user_id_characters)
        await invitations.end(channel_of(request.id), caller.user, request.user)
        return Reply(200, InvitedUser(user=request.user))

    return Operation(
        name="end_invitation",
        method="DELETE",
        path="/api/groups/{id}/invitations/{user}",
        summary="Decline an invitation, or take it back",
        description="One's own, or as an admin or a moderator that of any user.",
        access=USER,
        request=MemberPath,
        responses={200: ("The user is not invited.", InvitedUser)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID, "user": fields.user_id(limits)},
        example={"id": EXAMPLE_ID, "user": "bob"},
    )
