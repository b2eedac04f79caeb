"""``GET /api/conversations``."""

from __future__ import annotations

from typing import Any

from chatsvc.api.access import USER, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import StoreUnavailable
from chatsvc.core.limits import Limits
from chatsvc.features.conversations.model import Conversations, ConversationsRequest
from chatsvc.features.conversations.service import ConversationService


def operations(service: ConversationService, limits: Limits) -> tuple[Operation, ...]:
    """Return the operation."""

    async def handle(caller: Caller, request: ConversationsRequest) -> Reply:
        return Reply(200, await service.page(caller.user, request))

    def check(caller: Caller, request: ConversationsRequest) -> None:
        service.before(request)

    bounds: dict[str, dict[str, Any]] = {
        "limit": {"minimum": 1, "maximum": limits.page},
        "before": {
            "pattern": "^[0-9a-f]{16}$",
            "description": "Only conversations whose newest message has a lower id.",
        },
    }
    return (
        Operation(
            name="list_conversations",
            method="GET",
            path="/api/conversations",
            summary="The caller's conversations, newest first",
            access=USER,
            request=ConversationsRequest,
            responses={200: ("The page, newest first.", Conversations)},
            errors=(StoreUnavailable,),
            handler=handle,
            check=check,
            tag="conversations",
            bounds=bounds,
        ),
    )
