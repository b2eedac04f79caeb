"""The commands of the connection itself: ``ping`` and ``auth``."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import msgspec
import structlog

from chatsvc.api.command import Command, CommandReply, Connection, Handled
from chatsvc.auth.principal import Authenticator, Principal
from chatsvc.core.errors import Unauthorized
from chatsvc.server.token_check import check_token
from chatsvc.server.websocket.budget import AUTH_UNITS
from chatsvc.wire import close_codes
from chatsvc.wire.protocol import (
    Auth,
    AuthExpiring,
    AuthOk,
    CaughtUp,
    CursorMoved,
    Error,
    Gap,
    Hello,
    Ping,
    Pong,
    Reset,
    Stored,
)

CONNECTION_FRAMES: Final[tuple[type[msgspec.Struct], ...]] = (
    Hello,
    CaughtUp,
    CursorMoved,
    Stored,
    Error,
    AuthExpiring,
    Gap,
    Reset,
)
"""The frames that a socket sends by itself, whatever its commands are."""

_logger = structlog.get_logger("chatsvc.socket")


class RenewableConnection(Connection, Protocol):
    """A connection whose token can be replaced."""

    def renew(self, principal: Principal) -> bool:
        """Go by another token of the same user; return False if the connection is closing."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""


def connection_commands(authenticator: Authenticator) -> tuple[Command, ...]:
    """Return the commands that every socket has.

    Args:
        authenticator: of the tokens of ``auth``, and of the handshake.
    """
    return (
        Command(request=Ping, answers=(Pong,), handler=_pong, units=1, overtakes=True),
        _auth(authenticator),
    )


def _pong(connection: Connection, request: Ping) -> CommandReply:
    return CommandReply(Pong(ref=request.ref))


def _auth(authenticator: Authenticator) -> Command:
    def handle(connection: RenewableConnection, request: Auth) -> Handled:
        principal = authenticator.known(request.token)
        if principal is not None:
            return _renew(connection, principal, request.ref)
        work = ask(connection, request)
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        return task

    async def ask(connection: RenewableConnection, request: Auth) -> CommandReply:
        try:
            principal = await check_token(authenticator, request.token)
        except Unauthorized as exc:
            _log_refused(connection, exc.code, exc.detail)
            raise
        return _renew(connection, principal, request.ref)

    return Command(request=Auth, answers=(AuthOk,), handler=handle, units=AUTH_UNITS)


def _renew(connection: RenewableConnection, principal: Principal, ref: str | None) -> CommandReply:
    if principal.user != connection.user:
        _log_refused(connection, "forbidden", "the token is another user's")
        connection.close(close_codes.FORBIDDEN, "another user's token")
        return CommandReply(None)
    if not connection.renew(principal):
        return CommandReply(None)
    return CommandReply(AuthOk(expires_at=principal.expires_at, ref=ref))


def _log_refused(connection: Connection, code: str, reason: str) -> None:
    _logger.info(
        "auth_refused",
        user=connection.user,
        connection=connection.connection_id,
        code=code,
        reason=reason,
    )
