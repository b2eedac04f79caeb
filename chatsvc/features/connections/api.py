"""``POST /api/connections``."""

from __future__ import annotations

from typing import Any

from chatsvc.api.access import ANYBODY, USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.limits import Limits
from chatsvc.features.connections.model import Connections, ConnectionsRequest
from chatsvc.features.connections.service import ConnectionService


def operations(
    service: ConnectionService, limits: Limits, *, require_auth: bool
) -> tuple[Operation, ...]:
    """Return the operation. ``require_auth``: whether it needs a token."""

    async def handle(caller: Caller | None, request: ConnectionsRequest) -> Reply:
        return Reply(200, Connections(connections=await service.count(request.users)))

    bounds: dict[str, dict[str, Any]] = {
        "users": {"minItems": 1, "maxItems": limits.connection_lookup},
        "users/items": {
            "minLength": 1,
            "maxLength": limits.user_id_characters,
            "pattern": r"^[^,\u0000-\u001f\u007f-\u009f]+$",
        },
    }
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
            bounds=bounds,
            example={"users": ["alice", "bob"]},
        ),
    )
