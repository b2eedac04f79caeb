"""The answers of a socket: those of one turn of the event loop are one write."""

from __future__ import annotations

from functools import partial

from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import frames


class Answers:
    """Queues and writes the answers of all sockets.

    Args:
        acknowledgements: decides when queued answers are written.
    """

    def __init__(self, acknowledgements: Acknowledgements) -> None:
        self._write_soon = acknowledgements.write_soon

    def queue(self, socket: SocketState, payload: bytes, opcode: int = frames.TEXT) -> None:
        """Queue an answer behind those that are queued."""
        outbox = socket.outbox
        if outbox is None:
            outbox = socket.outbox = []
            self._write_soon(partial(self.flush, socket))
        outbox.append(frames.encode(opcode, payload))

    def flush(self, socket: SocketState) -> None:
        """Write the queued answers."""
        outbox, socket.outbox = socket.outbox, None
        if outbox:
            self.write(socket, b"".join(outbox))

    def write(self, socket: SocketState, data: bytes) -> None:
        """Write an answer without waiting for others."""
        socket.write(data)
        if socket.slow_since:
            socket.answers_unsent += len(data)
