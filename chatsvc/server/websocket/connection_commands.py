"""The commands of the connection itself: ``ping`` and ``auth``."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import msgspec
import structlog

from chatsvc.api.command import Command, CommandReply, Connection, Handled
from chatsvc.auth.principal import Authenticator, Principal
from chatsvc.core.errors import Unauthorized, Unavailable
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

AUTH_SECONDS: Final = 10.0
"""The time limit of a token check: the sends behind an ``auth`` wait for it."""

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
            principal = await _authenticate(authenticator, request.token)
        except Unauthorized as exc:
            _log_refused(connection, exc.code, exc.detail)
            raise
        return _renew(connection, principal, request.ref)

    return Command(request=Auth, answers=(AuthOk,), handler=handle, units=AUTH_UNITS)


async def _authenticate(authenticator: Authenticator, token: str) -> Principal:
    try:
        async with asyncio.timeout(AUTH_SECONDS) as limit:
            return await authenticator.authenticate(token)
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable("whether the token is valid could not be found out in time") from None


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
