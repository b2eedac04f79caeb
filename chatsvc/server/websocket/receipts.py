"""Receipts: tell a client up to where its messages are in the store."""

from __future__ import annotations

from chatsvc.core.ids import format_id
from chatsvc.log.tail import Tail
from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.registry import SocketRegistry
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire.protocol import Stored, encode_frame


class Receipts:
    """Sends ``stored`` to the sockets that asked for it, never before the ``ack`` that it covers.

    A receipt covers what the socket was told of: while commands are unanswered, one of them may
    be in the store already, so a receipt names the highest id that was acknowledged then. The
    next acknowledgement makes up for it.
    """

    def __init__(self, registry: SocketRegistry, tail: Tail, answers: Answers) -> None:
        self._waiting = registry.unstored
        self._tail = tail
        self._answers = answers

    def acknowledged(self, socket: SocketState, record_id: int) -> None:
        """Note a record whose acknowledgement is queued; it may be in the store already."""
        socket.unstored = max(socket.unstored, record_id)
        if socket.transport is None:
            return
        self._waiting.add(socket)
        watermark = self._tail.stored
        if record_id <= watermark:
            self._send(socket, watermark)

    def stored(self, watermark: int) -> None:
        """Tell the sockets that wait: the store has every message up to ``watermark``."""
        for socket in list(self._waiting):
            self._send(socket, watermark)

    def _send(self, socket: SocketState, watermark: int) -> None:
        if watermark >= socket.unstored:
            self._waiting.discard(socket)
            if socket.unanswered:
                watermark = socket.unstored
        self._answers.queue(socket, encode_frame(Stored(up_to=format_id(watermark))))
