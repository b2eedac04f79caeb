"""One client's socket, from hello to close: heartbeat, the token's end, closing.

It takes the transport over from aiohttp after the upgrade, which leaves two kilobytes
a socket instead of fourteen.
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
"""How long the peer may take to answer a close frame."""
FEATURES: Final = ["resume", "echo", "receipts"]

_logger = structlog.get_logger("chatsvc.socket")


class Socket(Intake):
    """A WebSocket after its handshake. ``announced``: the head the client was told of.

    ``_timer`` is the only one that a socket has: for its token, then for its closing.
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
        """Say hello, then resume or go live. ``transport`` speaks this protocol already.

        Args:
            answer: completes the opening handshake; goes out in one write with the hello.
            request_id: of the handshake, for the log.
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
        self.watch_expiry()
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
        context.end_leaving(self)
        context.forget(self)
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
        """Begin the closing handshake (RFC 6455 §7.1.2), and end it in bounded time."""
        if self._closing or self.transport is None:
            return
        self._closing = True
        self.close_reason = f"{code} {reason}"
        self._last_word(code, reason)
        self._set_timer(CLOSE_SECONDS, self._abort)
        self.go_on()  # what is still to be run is passed over, up to the peer's close

    def pause_writing(self) -> None:
        super().pause_writing()
        self._context.slow.add(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._context.slow.discard(self)

    def cut(self, reason: str) -> None:
        self.close_reason = self.close_reason or reason
        self._context.begin_leaving(self)
        super().cut(reason)

    def beat(self) -> None:
        """A heartbeat: gone if nothing came since the last; else a ping, and the position."""
        if self._closing or self.transport is None:
            return
        if not self.heard and self.reading:  # or it is we who do not read
            self.close(close_codes.HEARTBEAT_MISSED, "heartbeat missed")
            self._finish()
            return
        self.heard = False
        head = self._context.tail.head
        if self.live and self.waiting is None and head > self.announced:
            self.announced = head
            cursor = self._context.resumer.cursor(head)
            moved = frames.encode_text(b'{"type":"cursor","cursor":"%b"}' % cursor.encode())
            self.write(_PING + moved)
        else:
            self.write(_PING)
        self.watch_expiry()

    def watch_expiry(self) -> None:
        """Where the token's warning or end is due before the next heartbeat but one, see to
        it in time."""
        if self._closing or self._timer is not None:
            return
        left = self.expires_at - self._warn_ahead - time.time()
        if left <= self._context.heartbeat_seconds * 1.5:
            self._set_timer(max(0.0, left), self._look_at_token)

    def _look_at_token(self) -> None:
        self._timer = None
        now = time.time()
        if now >= self.expires_at:
            self.close(close_codes.TOKEN_EXPIRED, "token expired")
            return
        if self._warn_ahead and now >= self.expires_at - self._warn_ahead:
            self._warn_ahead, self._warned_at = 0.0, now
            self.say(AuthExpiring(in_seconds=round(self.expires_at - now)))
        self.watch_expiry()

    def _set_timer(self, delay: float | None, action: Callable[[], None] | None = None) -> None:
        """In place of the one before; ``None`` for none."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and action is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, action)

    def renew(self, command: Auth) -> None:
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
        self.watch_expiry()

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
            self._last_word(code, "")
        self._finish()

    def _last_word(self, code: int, reason: str) -> None:
        """What was answered so far, then the close frame; nothing may follow it."""
        self._context.begin_leaving(self)
        self.flush()
        self.write(frames.encode_close(code, reason))
        self.sealed = True

    def _half_close(self) -> None:
        """Say no more, and read on into nothing until the peer ends it, or is cut off.

        Closed with bytes unread, the kernel would reset the connection, and with it the
        close frame that says why.
        """
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()
            self._read(wanted=True)

    def _finish(self) -> None:
        """Send what is buffered and close; cut off if even that takes too long."""
        if self.transport is not None:
            self.transport.close()
            self._set_timer(CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        self._timer = None
        if self.transport is not None:
            self.transport.abort()


_PING: Final = frames.encode(frames.PING, b"")
