"""Run the commands that a client sends over its socket, in order, and answer them.

Nothing here waits: what has to be waited for is a future with a callback. All answers of one
turn of the event loop are sent in one write.
"""

from __future__ import annotations

import asyncio

import structlog

from chatsvc.core.errors import ChatError
from chatsvc.core.ids import created_at, format_id
from chatsvc.delivery.connection import Connection
from chatsvc.log.base import Appended
from chatsvc.server.websocket.budget import AUTH_UNITS, units_of
from chatsvc.server.websocket.commands import (
    decode_command,
    error_frame,
    internal_error,
    ref_of,
)
from chatsvc.server.websocket.context import SocketContext
from chatsvc.wire import frames
from chatsvc.wire.protocol import (
    Ack,
    Auth,
    Ping,
    Pong,
    Send,
    ServerFrame,
    Stored,
    encode_frame,
)

_logger = structlog.get_logger("chatsvc.socket")


class CommandConnection(Connection):
    """A connection that runs the commands of its client.

    ``_blocked`` is true while the next frame must wait: too many sends are unacknowledged, or
    one of them has not reached the log yet. ``_answers_unsent`` is the number of bytes of
    answers that were written since the socket became slow.
    """

    __slots__ = (
        "_answers_unsent",
        "_blocked",
        "_context",
        "_outbox",
        "_pending_lookup",
        "_unacked",
        "_unstored",
        "connection_id",
        "receipts",
    )

    def __init__(
        self,
        context: SocketContext,
        user: str,
        *,
        connection_id: str,
        device: str,
        echo: bool,
        receipts: bool,
    ) -> None:
        # Device names must not contain a slash: no other connection has the same origin.
        origin = f"{device}/{connection_id}" if device else connection_id
        super().__init__(user, origin, echo=echo, buffer_limit=context.buffer_limit)
        self._context = context
        self.connection_id = connection_id
        self.receipts = receipts
        self._blocked = False
        self._pending_lookup: asyncio.Future[Appended] | None = None
        self._unacked = 0
        self._unstored = 0
        self._outbox: list[bytes] | None = None
        self._answers_unsent = 0

    def send_frame(self, frame: ServerFrame) -> None:
        """Write one frame without waiting for other answers."""
        self._write_answer(frames.encode_text(encode_frame(frame)))

    def charge(self, units: int) -> bool:
        """Charge a frame that is not an accepted send to the socket's rate limit.

        Returns:
            False if the limit is exceeded: the socket is being closed.
        """
        raise NotImplementedError

    def schedule_turn(self) -> None:
        """Schedule the frames that had to wait, if there are any."""
        raise NotImplementedError

    def renew_token(self, command: Auth) -> None:
        """Replace the token of this connection.

        Raises:
            Unauthorized: the new token is not valid; the old one is kept.
        """
        raise NotImplementedError

    def receive_text(self, payload: bytes) -> None:
        """Decode one text frame and run its command."""
        try:
            command = decode_command(payload)
            if isinstance(command, Send):
                self._send_message(command)
            elif isinstance(command, Ping):
                self.charge(1)
                self.reply(encode_frame(Pong(ref=command.ref)))
            elif self.charge(AUTH_UNITS):
                self.renew_token(command)
        except ChatError as exc:
            self.charge(units_of(payload))
            self.reply(encode_frame(error_frame(exc, ref_of(payload))))
        except Exception:
            _logger.exception("frame_failed", user=self.user, connection=self.connection_id)
            self.charge(units_of(payload))
            self.reply(encode_frame(internal_error(ref_of(payload))))

    def _send_message(self, command: Send) -> None:
        future = self._context.submit(
            sender=self.user,
            origin=self.origin,
            participants=command.participants,
            content=command.content,
            client_id=command.client_id,
            metadata=command.metadata,
            channel=command.channel,
        )
        self._unacked += 1
        # A Task has not reached the log yet: later frames must not overtake it.
        if isinstance(future, asyncio.Task):
            self._pending_lookup = future
        if self._pending_lookup is not None or self._unacked >= self._context.unacked_max:
            self._blocked = True
        ref = command.ref
        future.add_done_callback(lambda done: self._send_finished(done, ref))

    def _send_finished(self, done: asyncio.Future[Appended], ref: str | None) -> None:
        self._unacked -= 1
        if done is self._pending_lookup:
            self._pending_lookup = None
        try:
            appended = done.result()
        except ChatError as exc:
            self.charge(1)
            self.reply(encode_frame(error_frame(exc, ref)))
        except (asyncio.CancelledError, Exception) as exc:
            _logger.error("send_failed", user=self.user, exc_info=exc)
            self.charge(1)
            self.reply(encode_frame(internal_error(ref)))
        else:
            message_id = appended.id
            if appended.duplicate:
                self.charge(1)  # it cost no commit, and can be repeated without end
            self.reply(
                encode_frame(
                    Ack(
                        id=format_id(message_id),
                        created_at=created_at(message_id),
                        ref=ref,
                        duplicate=appended.duplicate,
                    )
                )
            )
            if self.receipts:
                self._track_stored(message_id)
        if self._blocked and self._pending_lookup is None:
            self._blocked = False
            self.schedule_turn()

    def _track_stored(self, message_id: int) -> None:
        watermark = self._context.tail.stored
        self._unstored = max(self._unstored, message_id)
        if self.transport is None:
            return
        self._context.unstored.add(self)
        if message_id <= watermark:
            self.notify_stored(watermark)

    def notify_stored(self, watermark: int) -> None:
        """Send a receipt: the messages of this socket up to ``watermark`` are in the store."""
        if watermark >= self._unstored:
            self._context.unstored.discard(self)
        self.reply(encode_frame(Stored(up_to=format_id(watermark))))

    def reply(self, payload: bytes, opcode: int = frames.TEXT) -> None:
        """Queue an answer; the answers of one turn of the event loop are one write."""
        if self._outbox is None:
            self._outbox = []
            self._context.acknowledgements.write_soon(self.flush)
        self._outbox.append(frames.encode(opcode, payload))

    def flush(self) -> None:
        """Write the queued answers."""
        outbox, self._outbox = self._outbox, None
        if outbox:
            self._write_answer(b"".join(outbox))

    def _write_answer(self, data: bytes) -> None:
        self.write(data)
        if self.slow_since:
            self._answers_unsent += len(data)

    def resume_writing(self) -> None:
        """Continue when the client has read the written bytes; called by the event loop."""
        super().resume_writing()
        self._answers_unsent = 0
        self.schedule_turn()
