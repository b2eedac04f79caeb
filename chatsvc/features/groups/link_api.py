"""``/api/groups/{id}/links`` and ``/api/groups/join``: the operations on invite links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Conflict, Forbidden, LogUnavailable, NotFound
from chatsvc.features.groups.api import answer_of
from chatsvc.features.groups.links import MAX_SECONDS, MAX_USES, GroupLinks, Terms, code_of
from chatsvc.features.groups.model import (
    EXAMPLE_ID,
    GROUP_ID,
    LINK_CODE,
    WRITE_ERRORS,
    Group,
    GroupPath,
)
from chatsvc.features.groups.service import GroupService, channel_of
from chatsvc.features.groups.settings import InviteLink

_EXAMPLE_CODE: Final = EXAMPLE_ID + "0123456789abcdef0123456789abcdef"


class NewLink(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A link to create; without an end and a number of uses it is good until it is revoked."""

    expires_in: int | None = None
    max_uses: int | None = None


class JoinRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The code of an invite link."""

    code: str


class LinkPath(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The group and the link."""

    id: str
    code: str


class Link(msgspec.Struct, kw_only=True):
    """An invite link; whoever has the code may join.

    ``expires_at`` and ``uses_left`` are ``null`` where it has no end, and any number of uses.
    """

    code: Annotated[str, msgspec.Meta(examples=[_EXAMPLE_CODE])]
    created_by: str
    expires_at: str | None
    uses_left: int | None


class Links(msgspec.Struct, kw_only=True):
    """The links that can be used, the oldest first."""

    links: list[Link]


class Revoked(msgspec.Struct, kw_only=True):
    """The link is not there any more."""


def operations(links: GroupLinks, service: GroupService) -> tuple[Operation, ...]:
    """Return the operations."""
    return (_create(links), _list(links), _revoke(links), _join(links, service))


def _create(links: GroupLinks) -> Operation:
    async def handle(caller: Caller, request: NewLink, path: GroupPath) -> Reply:
        channel = channel_of(path.id)
        terms = Terms(request.expires_in, request.max_uses)
        return Reply(201, _answer(channel, await links.create(channel, caller.user, terms)))

    return Operation(
        name="create_link",
        method="POST",
        path="/api/groups/{id}/links",
        summary="Create an invite link",
        description="For admins and moderators. Whoever has its code may join.",
        access=USER,
        request=NewLink,
        path_fields=GroupPath,
        body_optional=True,
        responses={201: ("The link.", Link)},
        errors=(*WRITE_ERRORS, Conflict),
        handler=handle,
        tag="groups",
        bounds={
            "id": GROUP_ID,
            "expires_in": {"minimum": 1, "maximum": MAX_SECONDS, "description": "Seconds."},
            "max_uses": {"minimum": 1, "maximum": MAX_USES},
        },
        example={"id": EXAMPLE_ID, "expires_in": 86_400, "max_uses": 10},
    )


def _list(links: GroupLinks) -> Operation:
    async def handle(caller: Caller, request: GroupPath) -> Reply:
        channel = channel_of(request.id)
        found = links.listed(channel, caller.user)
        return Reply(200, Links(links=[_answer(channel, one) for one in found]))

    return Operation(
        name="list_links",
        method="GET",
        path="/api/groups/{id}/links",
        summary="The invite links of a group",
        description="For admins and moderators.",
        access=USER,
        request=GroupPath,
        responses={200: ("Those that can be used.", Links)},
        errors=(Forbidden, LogUnavailable),
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID},
        example={"id": EXAMPLE_ID},
    )


def _revoke(links: GroupLinks) -> Operation:
    async def handle(caller: Caller, request: LinkPath) -> Reply:
        await links.revoke(channel_of(request.id), caller.user, request.code)
        return Reply(200, Revoked())

    return Operation(
        name="revoke_link",
        method="DELETE",
        path="/api/groups/{id}/links/{code}",
        summary="Revoke an invite link",
        description="For admins and moderators. Nobody joins by it any more.",
        access=USER,
        request=LinkPath,
        responses={200: ("It is revoked.", Revoked)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID, "code": LINK_CODE},
        example={"id": EXAMPLE_ID, "code": _EXAMPLE_CODE},
    )


def _join(links: GroupLinks, service: GroupService) -> Operation:
    async def handle(caller: Caller, request: JoinRequest) -> Reply:
        channel = await links.join(caller.user, request.code)
        return Reply(200, answer_of(service.get(caller.user, channel)))

    return Operation(
        name="join_group",
        method="POST",
        path="/api/groups/join",
        summary="Join a group by an invite link",
        access=USER,
        request=JoinRequest,
        responses={200: ("The group, of which the caller is a member now.", Group)},
        errors=(*WRITE_ERRORS, NotFound, Conflict),
        handler=handle,
        tag="groups",
        bounds={"code": LINK_CODE},
        example={"code": _EXAMPLE_CODE},
    )


def _answer(channel: str, link: InviteLink) -> Link:
    ends = link.expires_ms
    moment = datetime.fromtimestamp(ends / 1000, UTC) if ends else None
    return Link(
        code=code_of(channel, link),
        created_by=link.created_by,
        expires_at=None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        uses_left=link.uses_left if link.uses_left >= 0 else None,
    )
