"""The socket of one client, from ``hello`` to close: heartbeat, token expiry, closing.

It replaces aiohttp as the protocol of the transport after the upgrade, which reduces the
memory of a socket from fourteen to two kilobytes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Unauthorized
from chatsvc.core.ids import created_at, id_at, now_ms
from chatsvc.delivery.resume import Plan
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.expiry import warning_ahead
from chatsvc.server.websocket.intake import Intake
from chatsvc.wire import close_codes, frames
from chatsvc.wire.protocol import (
    PROTOCOL_VERSION,
    Auth,
    AuthExpiring,
    AuthOk,
    Hello,
    encode_frame,
)

CLOSE_SECONDS: Final = 3.0
"""The time limit for the peer's answer to a close frame."""
FEATURES: Final = ["resume", "echo", "receipts"]
"""The capabilities that ``hello`` lists."""

_logger = structlog.get_logger("chatsvc.socket")


class Socket(Intake):
    """A WebSocket after its handshake.

    ``announced`` is the position of the last cursor that was sent. ``_timer`` is the only timer
    of a socket: for the expiry of its token, later for its closing.
    """

    __slots__ = (
        "_timer",
        "_warn_ahead",
        "_warned_at",
        "announced",
        "close_reason",
        "expires_at",
        "opened_at",
    )

    def __init__(
        self,
        context: SocketContext,
        principal: Principal,
        *,
        connection_id: str,
        device: str,
        echo: bool,
        receipts: bool = False,
    ) -> None:
        super().__init__(
            context,
            principal.user,
            connection_id=connection_id,
            device=device,
            echo=echo,
            receipts=receipts,
        )
        self.expires_at = principal.expires_at
        self.announced = 0
        self.opened_at = time.monotonic()
        self.close_reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._warned_at = 0.0
        self._warn_ahead = warning_ahead(time.time(), self.expires_at, self._warned_at)

    def begin(
        self,
        transport: asyncio.Transport,
        plan: Plan | None,
        answer: bytes = b"",
        request_id: str = "",
    ) -> None:
        """Send ``hello``, then resume or go live.

        Args:
            transport: has this socket as its protocol already.
            plan: where to resume from; ``None`` to go live at once.
            answer: completes the opening handshake, and is sent in one write with ``hello``.
            request_id: the request id of the handshake, for the log.
        """
        context = self._context
        self.transport = transport
        transport.set_write_buffer_limits(high=64 * 1024, low=16 * 1024)
        context.sockets.add(self)
        context.metrics.socket_opened()
        _logger.info(
            "connect",
            user=self.user,
            connection=self.connection_id,
            request_id=request_id,
            resume=plan is not None,
        )
        head = context.tail.head
        position = plan.position if plan is not None else head
        self.announced = position
        hello = Hello(
            user=self.user,
            connection_id=self.connection_id,
            protocol=PROTOCOL_VERSION,
            server=context.server_name,
            features=FEATURES,
            epoch=context.resumer.epoch,
            cursor=context.resumer.cursor(position),
            heartbeat_seconds=context.heartbeat_seconds,
            max_content=context.max_content,
            expires_at=self.expires_at,
            server_time=created_at(id_at(now_ms())),
            recovered=plan.recovered if plan is not None else None,
        )
        self.write(answer + frames.encode_text(encode_frame(hello)))
        self.schedule_expiry()
        if plan is None:
            context.hub.add(self)
        else:
            context.resumer.start(self, plan)

    def framing_failed(self, failure: frames.FramingError) -> None:
        self.close(failure.code, failure.reason)
        self._half_close()

    def eof_received(self) -> None:
        self.close_reason = self.close_reason or "client went away"

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set_timer(None)
        context = self._context
        if self not in context.sockets:
            return
        context.end_closing(self)
        context.remove(self)
        reason = self.close_reason or ("connection lost" if exc else "client went away")
        context.metrics.socket_closed(reason)
        _logger.info(
            "disconnect",
            user=self.user,
            connection=self.connection_id,
            reason=reason,
            seconds=round(time.monotonic() - self.opened_at, 3),
        )

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake (RFC 6455 §7.1.2), which ends in bounded time."""
        if self._closing or self.transport is None:
            return
        self._closing = True
        self.close_reason = f"{code} {reason}"
        self._send_close(code, reason)
        self._set_timer(CLOSE_SECONDS, self._abort)
        self.schedule_turn()  # remaining frames are skipped, up to the peer's close frame

    def pause_writing(self) -> None:
        super().pause_writing()
        self._context.slow.add(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._context.slow.discard(self)

    def cut(self, reason: str) -> None:
        self.close_reason = self.close_reason or reason
        self._context.begin_closing(self)
        super().cut(reason)

    def heartbeat(self) -> None:
        """Send a ping and the cursor, or close if nothing was received since the last ping."""
        if self._closing or self.transport is None:
            return
        if not self.received and self.reading:  # while reading is paused nothing can arrive
            self.close(close_codes.HEARTBEAT_MISSED, "heartbeat missed")
            self._close_transport()
            return
        self.received = False
        head = self._context.tail.head
        if self.live and self.waiting is None and head > self.announced:
            self.announced = head
            cursor = self._context.resumer.cursor(head)
            moved = frames.encode_text(b'{"type":"cursor","cursor":"%b"}' % cursor.encode())
            self.write(_PING + moved)
        else:
            self.write(_PING)
        self.schedule_expiry()

    def schedule_expiry(self) -> None:
        """Set the timer if the token's warning or expiry is due soon.

        Soon means before the next heartbeat but one; until then the heartbeats check it.
        """
        if self._closing or self._timer is not None:
            return
        left = self.expires_at - self._warn_ahead - time.time()
        if left <= self._context.heartbeat_seconds * 1.5:
            self._set_timer(max(0.0, left), self._check_token)

    def _check_token(self) -> None:
        self._timer = None
        now = time.time()
        if now >= self.expires_at:
            self.close(close_codes.TOKEN_EXPIRED, "token expired")
            return
        if self._warn_ahead and now >= self.expires_at - self._warn_ahead:
            self._warn_ahead, self._warned_at = 0.0, now
            self.send_frame(AuthExpiring(in_seconds=round(self.expires_at - now)))
        self.schedule_expiry()

    def _set_timer(self, delay: float | None, action: Callable[[], None] | None = None) -> None:
        """Replace the timer; ``None`` removes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and action is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, action)

    def renew_token(self, command: Auth) -> None:
        try:
            principal = self._context.authenticate(command.token)
        except Unauthorized as exc:
            self._log_refused_auth(exc.code, exc.detail)
            raise
        if principal.user != self.user:
            self._log_refused_auth("forbidden", "the token is another user's")
            self.close(close_codes.FORBIDDEN, "another user's token")
            return
        self.expires_at = principal.expires_at
        self._warn_ahead = warning_ahead(time.time(), self.expires_at, self._warned_at)
        self.reply(encode_frame(AuthOk(expires_at=principal.expires_at, ref=command.ref)))
        self._set_timer(None)
        self.schedule_expiry()

    def _log_refused_auth(self, code: str, reason: str) -> None:
        _logger.info(
            "auth_refused",
            user=self.user,
            connection=self.connection_id,
            code=code,
            reason=reason,
        )

    def closed_by_peer(self, event: frames.Event) -> None:
        if not self._closing:
            self._closing = True
            self.close_reason = f"client closed {event.code}"
            code = close_codes.NORMAL if event.code == 1005 else event.code
            self._send_close(code, "")
        self._close_transport()

    def _send_close(self, code: int, reason: str) -> None:
        """Send the queued answers, then the close frame; nothing is sent after it."""
        self._context.begin_closing(self)
        self.flush()
        self.write(frames.encode_close(code, reason))
        self.sealed = True

    def _half_close(self) -> None:
        """Close the writing direction, and discard what is read until the peer closes.

        If the connection were closed with unread bytes, the kernel would reset it, and the
        peer might lose the close frame.
        """
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()
            self._set_reading(True)

    def _close_transport(self) -> None:
        """Send the buffered bytes and close the transport; abort it if that takes too long."""
        if self.transport is not None:
            self.transport.close()
            self._set_timer(CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        self._timer = None
        if self.transport is not None:
            self.transport.abort()


_PING: Final = frames.encode(frames.PING, b"")
