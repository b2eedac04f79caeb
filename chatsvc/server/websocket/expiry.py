"""The expiry of a socket's token: warn the client, then close the socket."""

from __future__ import annotations

import time
from typing import Final

from chatsvc.auth.principal import Principal
from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.closing import Closing
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import close_codes
from chatsvc.wire.frames import encode_text
from chatsvc.wire.protocol import AuthExpiring, encode_frame

WARNING_SECONDS: Final = 60.0
"""The longest time between the warning and the expiry."""
WARNING_SHARE: Final = 0.25
"""The warning's share of a token's remaining lifetime when it was received. A token that is
valid for a minute does not cause a warning immediately, or the client would request a new one
as soon as it has one."""
WARNING_FLOOR_SECONDS: Final = 5.0
"""The shortest time between two warnings: a login that returns the same token again, or tokens
that are valid for seconds, must not make a client request tokens without end."""


def warning_ahead(now: float, expires_at: float, warned_at: float) -> float:
    """Return how many seconds before its expiry a token received now is warned of.

    Args:
        now: the current time, in Unix seconds like the others.
        expires_at: the expiry of the token.
        warned_at: the time of the client's last warning, for any token; 0.0 for none.

    Returns:
        Seconds before ``expires_at``; 0 for no warning.
    """
    ahead = min(WARNING_SECONDS, (expires_at - now) * WARNING_SHARE)
    if expires_at - ahead < warned_at + WARNING_FLOOR_SECONDS:
        ahead = expires_at - warned_at - WARNING_FLOOR_SECONDS
    return ahead if ahead > 0 else 0.0


class TokenExpiry:
    """Warns clients before their token expires, and closes their sockets when it has.

    A socket has a timer only when one of them is due soon; until then its heartbeats look.
    """

    def __init__(self, heartbeat_seconds: float, closing: Closing, answers: Answers) -> None:
        self._soon = heartbeat_seconds * 1.5
        self._closing = closing
        self._answers = answers
        self._check_due = self._check  # one for the timers of all sockets

    def start(self, socket: SocketState) -> None:
        """Decide when the client is warned of the token that the socket has now."""
        socket.warn_ahead = warning_ahead(time.time(), socket.expires_at, socket.warned_at)
        self.schedule(socket)

    def renew(self, socket: SocketState, principal: Principal) -> bool:
        """Go by another token; return False if the socket is closing or closed."""
        if socket.sealed or socket.transport is None:
            return False  # its timer is that of the closing handshake
        socket.accept(principal)
        socket.stop_timer()
        self.start(socket)
        return True

    def schedule(self, socket: SocketState) -> None:
        """Set the timer if the warning or the expiry is due before the next heartbeat but one."""
        if socket.sealed or socket.timer is not None:
            return
        left = socket.expires_at - socket.warn_ahead - time.time()
        if left <= self._soon:
            socket.set_timer(max(0.0, left), self._check_due)

    def _check(self, socket: SocketState) -> None:
        socket.timer = None
        now = time.time()
        if now >= socket.expires_at:
            self._closing.close(socket, close_codes.TOKEN_EXPIRED, "token expired")
            return
        if socket.warn_ahead and now >= socket.expires_at - socket.warn_ahead:
            socket.warn_ahead, socket.warned_at = 0.0, now
            expiring = AuthExpiring(in_seconds=round(socket.expires_at - now))
            self._answers.write(socket, encode_text(encode_frame(expiring)))
        self.schedule(socket)
