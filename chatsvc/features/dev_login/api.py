"""``POST /api/dev/token``, which exists only when the development login is on."""

from __future__ import annotations

from typing import Any

from chatsvc.api.access import ANYBODY, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Forbidden
from chatsvc.core.limits import Limits
from chatsvc.features.dev_login.model import Token, TokenRequest
from chatsvc.features.dev_login.service import DevLogin


def operations(service: DevLogin, limits: Limits, *, local_only: bool) -> tuple[Operation, ...]:
    """Return the operation. ``local_only``: only for requests from this machine."""

    async def handle(caller: Caller | None, request: TokenRequest) -> Reply:
        return Reply(200, service.token(request.user))

    bounds: dict[str, dict[str, Any]] = {
        "user": {
            "minLength": 1,
            "maxLength": limits.user_id_characters,
            "pattern": r"^[^,\u0000-\u001f\u007f-\u009f]+$",
        },
    }
    return (
        Operation(
            name="development_token",
            method="POST",
            path="/api/dev/token",
            summary="A token for any user: only for development",
            access=ANYBODY,
            request=TokenRequest,
            responses={200: ("The token.", Token)},
            errors=(Forbidden,),
            handler=handle,
            tag="development",
            bounds=bounds,
            example={"user": "alice"},
            local_only=local_only,
            own_pages_only=True,
        ),
    )
