"""``POST /api/dev/token``, which is there only while the development login is on."""

from __future__ import annotations

import msgspec

from chatsvc.api import fields
from chatsvc.api.access import ANYBODY, Caller
from chatsvc.api.operation import Operation, Reply
from chatsvc.core.errors import Forbidden
from chatsvc.core.limits import Limits
from chatsvc.features.dev_login.service import DevLogin, Token


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The user to make a token for."""

    user: str


def operations(service: DevLogin, limits: Limits, *, local_only: bool) -> tuple[Operation, ...]:
    """Return the operation. ``local_only``: only for requests from this machine."""

    async def handle(caller: Caller | None, request: TokenRequest) -> Reply:
        return Reply(200, service.token(request.user))

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
            bounds={"user": fields.user_id(limits)},
            example={"user": "alice"},
            local_only=local_only,
            own_pages_only=True,
        ),
    )
