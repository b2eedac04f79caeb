"""What a client says over its socket, run in order, and the answers.

Nothing here waits: what does is a future's callback. Answers of one turn of the loop
go out in one write.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from chatsvc.core.errors import ChatError
from chatsvc.core.ids import created_at, format_id
from chatsvc.delivery.connection import Connection
from chatsvc.log.base import Appended
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

    ``_held``: frames wait in ``_inbox`` and the socket is not read, because too many sends
    are unacknowledged, or one of them has not reached the log yet.
    """

    __slots__ = (
        "_context",
        "_held",
        "_inbox",
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
        super().__init__(user, device, echo=echo, buffer_limit=context.buffer_limit)
        self._context = context
        self.connection_id = connection_id
        self.receipts = receipts
        self._held = False
        self._looking_up: asyncio.Future[Appended] | None = None
        self._unacked = 0
        self._unstored = 0
        self._inbox: deque[bytes] | None = None
        self._outbox: list[bytes] | None = None

    def hear(self, payload: bytes) -> None:
        """One text frame. It is run now, or after those before it."""
        if self._held:
            self._hold(payload)
        else:
            self._run(payload)

    def say(self, frame: ServerFrame) -> None:
        """Write one frame now."""
        self.write(frames.encode_text(encode_frame(frame)))

    def renew(self, command: Auth) -> None:
        """Take a fresh token.

        Raises:
            Unauthorized: it is not good; the old one stays.
        """
        raise NotImplementedError

    def _run(self, payload: bytes) -> None:
        try:
            command = decode_command(payload)
            if isinstance(command, Send):
                self._send_message(command)
            elif isinstance(command, Ping):
                self.say(Pong(ref=command.ref))
            else:
                self.renew(command)
        except ChatError as exc:
            self._reply(encode_frame(error_frame(exc, ref_of(payload))))
        except Exception:
            _logger.exception("a frame failed", user=self.user, connection=self.connection_id)
            self._reply(encode_frame(internal_error(ref_of(payload))))

    def _send_message(self, command: Send) -> None:
        future = self._context.submit(
            sender=self.user,
            origin=self.device,
            participants=command.participants,
            content=command.content,
            client_id=command.client_id,
            metadata=command.metadata,
        )
        self._unacked += 1
        # A Task has not reached the log yet: what follows it must not overtake it.
        if isinstance(future, asyncio.Task):
            self._looking_up = future
        if self._looking_up is not None or self._unacked >= self._context.unacked_max:
            self._held = True
            if self.transport is not None and not self.transport.is_closing():
                self.transport.pause_reading()
        ref = command.ref
        future.add_done_callback(lambda done: self._answered(done, ref))

    def _answered(self, done: asyncio.Future[Appended], ref: str | None) -> None:
        self._unacked -= 1
        if done is self._looking_up:
            self._looking_up = None
        try:
            appended = done.result()
        except ChatError as exc:
            self._reply(encode_frame(error_frame(exc, ref)))
        except (asyncio.CancelledError, Exception) as exc:
            _logger.error("a send failed", user=self.user, exc_info=exc)
            self._reply(encode_frame(internal_error(ref)))
        else:
            message_id = appended.id
            self._reply(
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
        if self._held and self._looking_up is None and self.transport is not None:
            self._let_go()

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
        self._reply(encode_frame(Stored(up_to=format_id(watermark))))

    def _let_go(self) -> None:
        """Go on with frames that were held, as far as they go without another wait."""
        self._held = False
        inbox = self._inbox
        while inbox and not self._held:
            self._run(inbox.popleft())
        if not self._held:
            self._inbox = None
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    def _hold(self, payload: bytes) -> None:
        # Bounded: reading is paused, so this is at most what one read brought.
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(payload)

    def _reply(self, payload: bytes) -> None:
        """Answers of one turn of the loop go out in one write."""
        if self._outbox is None:
            self._outbox = []
            asyncio.get_running_loop().call_soon(self.flush)
        self._outbox.append(frames.encode_text(payload))

    def flush(self) -> None:
        """Write the answers that are gathered."""
        outbox, self._outbox = self._outbox, None
        if outbox:
            self.write(b"".join(outbox))
