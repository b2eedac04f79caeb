"""``/api/groups`` and ``/api/groups/{id}``: the operations on groups as a whole."""

from __future__ import annotations

from chatsvc.api import fields
from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LogUnavailable,
    StoreUnavailable,
)
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits
from chatsvc.features.groups.model import (
    AVATAR,
    EXAMPLE_ID,
    GROUP_ID,
    HISTORY,
    JOIN,
    NAME,
    WRITE_ERRORS,
    Done,
    Group,
    GroupFields,
    GroupPath,
    Groups,
    GroupsRequest,
    NewGroup,
    new_group_bounds,
)
from chatsvc.features.groups.roster import GroupView
from chatsvc.features.groups.service import GroupPatch, GroupService, channel_of, id_of
from chatsvc.features.groups.settings import GroupSettings

_LOCATION_DOC = {"Location": "Where the group can be read."}


def operations(service: GroupService, limits: Limits) -> tuple[Operation, ...]:
    """Return the operations."""
    return (
        _create(service, limits),
        _list(service, limits),
        _get(service),
        _update(service),
        _delete(service),
    )


def _create(service: GroupService, limits: Limits) -> Operation:
    async def handle(caller: Caller, request: NewGroup) -> Reply:
        settings = GroupSettings(
            name=request.name,
            avatar=request.avatar,
            history=request.history,
            join=request.join,
        )
        created = await service.create(caller.user, settings, request.members, request.client_id)
        answer = answer_of(created.group)
        location = {"Location": f"/api/groups/{answer.id}"}
        if created.is_repeat:
            return Reply(200, answer, location | {"Idempotent-Replayed": "true"})
        return Reply(201, answer, location)

    return Operation(
        name="create_group",
        method="POST",
        path="/api/groups",
        summary="Create a group",
        description=(
            "The caller is its admin. Messages to it are sent to its `channel`. With a "
            "`client_id` it can be sent again: the same `client_id` is the same group."
        ),
        access=USER,
        request=NewGroup,
        responses={
            201: ("Created.", Group),
            200: ("Created before under this client_id; the group as it is now.", Group),
        },
        response_headers={
            201: _LOCATION_DOC,
            200: _LOCATION_DOC | {"Idempotent-Replayed": "`true`."},
        },
        errors=(*WRITE_ERRORS, Conflict, StoreUnavailable),
        handler=handle,
        tag="groups",
        bounds=new_group_bounds(limits),
        example={"name": "Reading club", "members": ["bob"]},
    )


def _list(service: GroupService, limits: Limits) -> Operation:
    def check(caller: Caller, request: GroupsRequest) -> None:
        fields.check_page_limit(request.limit, limits)
        if len(request.after) > len(EXAMPLE_ID):
            detail = f"after must have at most {len(EXAMPLE_ID)} characters"
            raise Invalid.at("/after", "too_long", detail, len(EXAMPLE_ID))

    async def handle(caller: Caller, request: GroupsRequest) -> Reply:
        check(caller, request)
        page = service.page(caller.user, request.after, request.limit)
        groups = [answer_of(one) for one in page.groups]
        return Reply(200, Groups(groups=groups, after=groups[-1].id if page.has_more else None))

    return Operation(
        name="list_groups",
        method="GET",
        path="/api/groups",
        summary="The caller's groups",
        access=USER,
        request=GroupsRequest,
        responses={200: ("The page, in the order of ids.", Groups)},
        errors=(LogUnavailable,),
        handler=handle,
        check=check,
        tag="groups",
        bounds={
            "limit": fields.page_limit(limits),
            "after": {
                "maxLength": len(EXAMPLE_ID),
                "description": "Only groups with a higher id.",
            },
        },
    )


def _get(service: GroupService) -> Operation:
    async def handle(caller: Caller, request: GroupPath) -> Reply:
        return Reply(200, answer_of(service.get(caller.user, channel_of(request.id))))

    return Operation(
        name="get_group",
        method="GET",
        path="/api/groups/{id}",
        summary="A group",
        access=USER,
        request=GroupPath,
        responses={200: ("The group.", Group)},
        errors=(Forbidden, LogUnavailable),
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID},
        example={"id": EXAMPLE_ID},
    )


def _update(service: GroupService) -> Operation:
    async def handle(caller: Caller, request: GroupFields, path: GroupPath) -> Reply:
        patch = GroupPatch(request.name, request.avatar, request.history, request.join)
        group = await service.update(caller.user, channel_of(path.id), patch)
        return Reply(200, answer_of(group))

    return Operation(
        name="update_group",
        method="PATCH",
        path="/api/groups/{id}",
        summary="Change what a group is like",
        description="For admins. `history` is about who joins from then on.",
        access=USER,
        request=GroupFields,
        path_fields=GroupPath,
        responses={200: ("The group as it is now.", Group)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={
            "id": GROUP_ID,
            "name": NAME,
            "avatar": AVATAR,
            "history": HISTORY,
            "join": JOIN,
        },
        example={"id": EXAMPLE_ID, "name": "Reading club"},
    )


def _delete(service: GroupService) -> Operation:
    async def handle(caller: Caller, request: GroupPath) -> Reply:
        record_id = await service.delete(caller.user, channel_of(request.id))
        return Reply(200, Done(id=format_id(record_id)))

    return Operation(
        name="delete_group",
        method="DELETE",
        path="/api/groups/{id}",
        summary="Delete a group",
        description=(
            "For admins. Every membership ends; who was a member goes on reading what was sent "
            "while that lasted."
        ),
        access=USER,
        request=GroupPath,
        responses={200: ("It is deleted.", Done)},
        errors=WRITE_ERRORS,
        handler=handle,
        tag="groups",
        bounds={"id": GROUP_ID},
        example={"id": EXAMPLE_ID},
    )


def answer_of(view: GroupView) -> Group:
    """Return the response for a group."""
    settings = view.settings
    return Group(
        id=id_of(view.channel),
        channel=view.channel,
        name=settings.name,
        avatar=settings.avatar,
        history=settings.history,
        join=settings.join,
        member_count=view.member_count,
        role=view.role,
        rev=format_id(view.rev),
    )
