"""Heartbeats: find out that a client is gone, and keep the position of an idle one current."""

from __future__ import annotations

from typing import Final

from chatsvc.delivery.resume import Resumer
from chatsvc.log.tail import Tail
from chatsvc.server.websocket.closing import Closing
from chatsvc.server.websocket.expiry import TokenExpiry
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import close_codes, frames

_PING: Final = frames.encode(frames.PING, b"")


class Heartbeat:
    """Sends the heartbeats; :mod:`~chatsvc.server.websocket.monitor` says when."""

    def __init__(
        self, *, tail: Tail, resumer: Resumer, closing: Closing, expiry: TokenExpiry
    ) -> None:
        self._tail = tail
        self._resumer = resumer
        self._closing = closing
        self._expiry = expiry

    def beat(self, socket: SocketState) -> None:
        """Send a ping and the cursor, or close if nothing was received since the last ping."""
        if socket.sealed or socket.transport is None:
            return
        if not socket.received and socket.reading:  # while reading is paused nothing can arrive
            self._closing.close(socket, close_codes.HEARTBEAT_MISSED, "heartbeat missed")
            self._closing.close_transport(socket)
            return
        socket.received = False
        head = self._tail.head
        if socket.live and socket.waiting is None and head > socket.announced:
            socket.announced = head
            cursor = self._resumer.cursor(head)
            moved = frames.encode_text(b'{"type":"cursor","cursor":"%b"}' % cursor.encode())
            socket.write(_PING + moved)
        else:
            socket.write(_PING)
        self._expiry.schedule(socket)
