"""What a client says over its socket, run in order, and the answers.

Nothing here waits: what does is a future's callback. Answers of one turn of the loop
go out in one write.
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


class Speaker(Connection):
    """A connection that runs commands.

    ``_held``: the next frame must wait, because too many sends are unacknowledged, or one
    of them has not reached the log yet. ``_answers_unsent``: bytes of answers since the
    client last took what was written, while it is slow.
    """

    __slots__ = (
        "_answers_unsent",
        "_context",
        "_held",
        "_looking_up",
        "_outbox",
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
        # No device has a slash in its name: nobody sends in the name of this connection.
        origin = f"{device}/{connection_id}" if device else connection_id
        super().__init__(user, origin, echo=echo, buffer_limit=context.buffer_limit)
        self._context = context
        self.connection_id = connection_id
        self.receipts = receipts
        self._held = False
        self._looking_up: asyncio.Future[Appended] | None = None
        self._unacked = 0
        self._unstored = 0
        self._outbox: list[bytes] | None = None
        self._answers_unsent = 0

    def say(self, frame: ServerFrame) -> None:
        """Write one frame now."""
        self._write_answer(frames.encode_text(encode_frame(frame)))

    def charge(self, units: int) -> bool:
        """Count what is not an accepted send against the socket's rate; whether it may go
        on, or was closed for it."""
        raise NotImplementedError

    def go_on(self) -> None:
        """The next frame need not wait any more."""
        raise NotImplementedError

    def renew(self, command: Auth) -> None:
        """Take a fresh token.

        Raises:
            Unauthorized: it is not good; the old one stays.
        """
        raise NotImplementedError

    def hear(self, payload: bytes) -> None:
        """Run one text frame."""
        try:
            command = decode_command(payload)
            if isinstance(command, Send):
                self._send_message(command)
            elif isinstance(command, Ping):
                self.charge(1)
                self.reply(encode_frame(Pong(ref=command.ref)))
            elif self.charge(AUTH_UNITS):
                self.renew(command)
        except ChatError as exc:
            self.charge(units_of(payload))
            self.reply(encode_frame(error_frame(exc, ref_of(payload))))
        except Exception:
            _logger.exception("a frame failed", user=self.user, connection=self.connection_id)
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
        # A Task has not reached the log yet: what follows it must not overtake it.
        if isinstance(future, asyncio.Task):
            self._looking_up = future
        if self._looking_up is not None or self._unacked >= self._context.unacked_max:
            self._held = True
        ref = command.ref
        future.add_done_callback(lambda done: self._answered(done, ref))

    def _answered(self, done: asyncio.Future[Appended], ref: str | None) -> None:
        self._unacked -= 1
        if done is self._looking_up:
            self._looking_up = None
        try:
            appended = done.result()
        except ChatError as exc:
            self.charge(1)
            self.reply(encode_frame(error_frame(exc, ref)))
        except (asyncio.CancelledError, Exception) as exc:
            _logger.error("a send failed", user=self.user, exc_info=exc)
            self.charge(1)
            self.reply(encode_frame(internal_error(ref)))
        else:
            message_id = appended.id
            if appended.duplicate:
                self.charge(1)  # it cost no commit, and may be sent again for ever
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
                self._await_store(message_id)
        if self._held and self._looking_up is None:
            self._held = False
            self.go_on()

    def _await_store(self, message_id: int) -> None:
        watermark = self._context.tail.stored
        self._unstored = max(self._unstored, message_id)
        if self.transport is None:
            return
        self._context.unstored.add(self)
        if message_id <= watermark:
            self.tell_stored(watermark)

    def tell_stored(self, watermark: int) -> None:
        """What this socket sent, up to ``watermark``, is in the store."""
        if watermark >= self._unstored:
            self._context.unstored.discard(self)
        self.reply(encode_frame(Stored(up_to=format_id(watermark))))

    def reply(self, payload: bytes, opcode: int = frames.TEXT) -> None:
        """Answers of one turn of the loop go out in one write."""
        if self._outbox is None:
            self._outbox = []
            asyncio.get_running_loop().call_soon(self.flush)
        self._outbox.append(frames.encode(opcode, payload))

    def flush(self) -> None:
        """Write the answers that are gathered."""
        outbox, self._outbox = self._outbox, None
        if outbox:
            self._write_answer(b"".join(outbox))

    def _write_answer(self, data: bytes) -> None:
        self.write(data)
        if self.slow_since:
            self._answers_unsent += len(data)

    def resume_writing(self) -> None:
        """Called by the loop when the client has taken what was written."""
        super().resume_writing()
        self._answers_unsent = 0
        self.go_on()
