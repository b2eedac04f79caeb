"""The closing handshake (RFC 6455 §7), which ends in bounded time."""

from __future__ import annotations

from typing import Final

from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.registry import SocketRegistry
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import close_codes, frames

CLOSE_SECONDS: Final = 3.0
"""The time limit for the peer's answer to a close frame."""


class Closing:
    """Closes sockets: for a reason of this side, of the peer's, or of a broken framing.

    A socket is ``sealed`` from its close frame on.
    """

    def __init__(self, registry: SocketRegistry, answers: Answers) -> None:
        self._registry = registry
        self._answers = answers

    def close(self, socket: SocketState, code: int, reason: str) -> None:
        """Start the handshake (§7.1.2)."""
        if socket.sealed or socket.transport is None:
            return
        socket.close_reason = f"{code} {reason}"
        self._send_close(socket, code, reason)
        socket.set_timer(CLOSE_SECONDS, _abort)
        socket.schedule_turn()  # remaining frames are skipped, up to the peer's close frame

    def closed_by_peer(self, socket: SocketState, event: frames.Event) -> None:
        """Answer the close frame of the peer, if it is not itself the answer, and end."""
        if not socket.sealed:
            socket.close_reason = f"client closed {event.code}"
            code = close_codes.NORMAL if event.code == 1005 else event.code
            self._send_close(socket, code, "")
        self.close_transport(socket)

    def fail(self, socket: SocketState, failure: frames.FramingError) -> None:
        """Close after a framing error, behind which nothing can be decoded.

        Only the writing direction is closed, and what is read is discarded until the peer
        closes: a connection that is closed with unread bytes is reset by the kernel, and the
        peer might lose the close frame.
        """
        self.close(socket, failure.code, failure.reason)
        if socket.transport is not None and not socket.transport.is_closing():
            socket.transport.write_eof()
            socket.set_reading(True)

    def close_transport(self, socket: SocketState) -> None:
        """Send the buffered bytes and close the transport; abort it if that takes too long."""
        if socket.transport is not None:
            socket.transport.close()
            socket.set_timer(CLOSE_SECONDS, _abort)

    def _send_close(self, socket: SocketState, code: int, reason: str) -> None:
        """Send the queued answers, then the close frame; nothing is sent after it."""
        self._registry.begin_closing(socket)
        self._answers.flush(socket)
        socket.write(frames.encode_close(code, reason))
        socket.sealed = True


def _abort(socket: SocketState) -> None:
    socket.timer = None
    if socket.transport is not None:
        socket.transport.abort()
