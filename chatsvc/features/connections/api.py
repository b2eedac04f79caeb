"""``POST /api/connections``: its request, its response and its declaration."""

from __future__ import annotations

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import ANYBODY, USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.limits import Limits
from chatsvc.features.connections.service import ConnectionService


class ConnectionsRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The users to look up."""

    users: list[str]


class Connections(msgspec.Struct, kw_only=True):
    """The number of open sockets of each user; 0 for a user without one."""

    connections: dict[str, int]


def operations(
    service: ConnectionService, limits: Limits, *, require_auth: bool
) -> tuple[Operation, ...]:
    """Return the operation. ``require_auth``: whether it needs a token."""

    async def handle(caller: Caller | None, request: ConnectionsRequest) -> Reply:
        return Reply(200, Connections(connections=await service.count(request.users)))

    return (
        Operation(
            name="count_connections",
            method="POST",
            path="/api/connections",
            summary="The number of open sockets of users",
            access=USER if require_auth else ANYBODY,
            request=ConnectionsRequest,
            responses={200: ("Each of the users, and the number of its sockets.", Connections)},
            handler=handle,
            tag="connections",
            bounds={
                "users": {"minItems": 1, "maxItems": limits.connection_lookup},
                "users/items": fields.user_id(limits),
            },
            example={"users": ["alice", "bob"]},
        ),
    )
