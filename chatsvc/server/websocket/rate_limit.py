"""Charge what a client's frames cost to its socket, and close a socket that exceeds its rate."""

from __future__ import annotations

import asyncio

import structlog

from chatsvc.server.websocket.budget import spend
from chatsvc.server.websocket.closing import Closing
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import close_codes

_logger = structlog.get_logger("chatsvc.socket")


class RateLimit:
    """The rate limit of every socket. ``turn_left``: units left to the one whose turn it is."""

    def __init__(self, closing: Closing) -> None:
        self._closing = closing
        self.turn_left = 0

    def charge(self, socket: SocketState, units: int) -> bool:
        """Charge a frame that is not an accepted send.

        Returns:
            False if the limit is exceeded: the socket is being closed.
        """
        self.turn_left -= units
        spent_until = spend(socket.spent_until, units, asyncio.get_running_loop().time())
        if spent_until is not None:
            socket.spent_until = spent_until
            return True
        if socket.decoder is not None:
            _logger.warning("socket_rate", user=socket.user, connection=socket.connection_id)
            self._closing.close(socket, close_codes.POLICY_VIOLATION, "too many frames")
            # Stop reading: the close frame is sent, and even discarding the rest has a cost,
            # which the limit is there to bound.
            socket.decoder = None
            socket.set_reading(False)
        return False
