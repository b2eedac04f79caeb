"""``/api/groups/{id}/bans``: the operations on bans."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Conflict, StoreUnavailable
from chatsvc.core.limits import Limits
from chatsvc.core.participants import check_user_id
from chatsvc.features.groups.bans import FOR_GOOD, MAX_SECONDS, GroupBans
from chatsvc.features.groups.model import EXAMPLE_ID, GROUP_ID, WRITE_ERRORS, MemberPath
from chatsvc.features.groups.service import channel_of


class BanFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For how many seconds; without them, for good."""

    expires_in: int | None = None


class Ban(msgspec.Struct, kw_only=True):
    """A ban; ``expires_at`` is ``null`` where it has no end."""

    user: str
    expires_at: str | None


class Unbanned(msgspec.Struct, kw_only=True):
    """The user may become a member again."""

    user: str


def operations(bans: GroupBans, limits: Limits) -> tuple[Operation, ...]:
    """Return the operations."""
    return (_ban(bans, limits), _unban(bans, limits))


def _ban(bans: GroupBans, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: BanFields, path: MemberPath) -> Reply:
        check_user_id(path.user, "/user", limits.user_id_characters)
        channel = channel_of(path.id)
        until = await bans.ban(channel, caller.user, path.user, request.expires_in)
        moment = None if until == FOR_GOOD else datetime.fromtimestamp(until / 1000, UTC)
        text = None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(200, Ban(user=path.user, expires_at=text))

    return Operation(
        name="ban_user",
        method="PUT",
        path="/api/groups/{id}/bans/{user}",
        summary="Ban a user from a group",
        description=(
            "For admins, and for moderators where the user does not lead. A membership ends, the "
            "user cannot become a member, and reads no message of the group any more."
        ),
        access=USER,
        request=BanFields,
        path_fields=MemberPath,
        body_optional=True,
        responses={200: ("The ban.", Ban)},
        errors=(*WRITE_ERRORS, Conflict, StoreUnavailable),
        handler=handle,
        tag="groups",
        bounds={
            "id": GROUP_ID,
            "user": fields.user_id(limits),
            "expires_in": {"minimum": 1, "maximum": MAX_SECONDS, "description": "Seconds."},
        },
        example={"id": EXAMPLE_ID, "user": "bob", "expires_in": 86_400},
    )


def _unban(bans: GroupBans, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: MemberPath) -> Reply:
        check_user_id(request.user, "/user", limits.user_id_characters)
        await bans.unban(channel_of(request.id), caller.user, request.user)
        return Reply(200, Unbanned(user=request.user))

    return Operation(
        name="unban_user",
        method="DELETE",
        path="/api/groups/{id}/bans/{user}",
        summary="End a ban",
        description="For admins and moderators. The user is not a member by that.",
        access=USER,
        request=MemberPath,
        responses={200: ("There is no ban.", Unbanned)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID, "user": fields.user_id(limits)},
        example={"id": EXAMPLE_ID, "user": "bob"},
    )
