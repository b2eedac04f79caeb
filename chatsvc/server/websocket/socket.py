"""The socket of one client, from ``hello`` to its end.

It replaces aiohttp as the protocol of the transport after the upgrade, which reduces the
memory of a socket from fourteen to two kilobytes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from chatsvc.auth.principal import Principal
from chatsvc.core.ids import created_at, id_at, now_ms
from chatsvc.delivery.connection import HIGH_WATER, LOW_WATER
from chatsvc.delivery.resume import Plan
from chatsvc.server.websocket.parts import SocketParts
from chatsvc.server.websocket.state import SocketState
from chatsvc.wire import frames
from chatsvc.wire.protocol import PROTOCOL_VERSION, Hello, encode_frame

FEATURES: Final = ["resume", "echo", "receipts", "changes", "groups"]
"""The capabilities that ``hello`` lists."""

_logger = structlog.get_logger("chatsvc.socket")


class Socket(SocketState):
    """A WebSocket after its handshake: what the event loop calls goes to the part it is for."""

    __slots__ = ("_parts",)

    def __init__(
        self,
        parts: SocketParts,
        principal: Principal,
        *,
        connection_id: str,
        device: str,
        echo: bool,
        receipts: bool = False,
        kinds: frozenset[str] | None = None,
    ) -> None:
        super().__init__(
            parts.options,
            principal,
            connection_id=connection_id,
            device=device,
            echo=echo,
            receipts=receipts,
            kinds=kinds,
        )
        self._parts = parts

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
        parts = self._parts
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        parts.registry.sockets.add(self)
        parts.metrics.socket_opened()
        _logger.info(
            "connect",
            user=self.user,
            connection=self.connection_id,
            request_id=request_id,
            resume=plan is not None,
        )
        self.write(answer + frames.encode_text(encode_frame(self._hello(plan))))
        parts.expiry.start(self)
        if plan is None:
            parts.hub.add(self)
        else:
            parts.resumer.start(self, plan)

    def _hello(self, plan: Plan | None) -> Hello:
        parts = self._parts
        position = self.announced = parts.tail.head if plan is None else plan.position
        return Hello(
            user=self.user,
            connection_id=self.connection_id,
            protocol=PROTOCOL_VERSION,
            server=parts.options.server_name,
            features=FEATURES,
            epoch=parts.resumer.epoch,
            cursor=parts.resumer.cursor(position),
            heartbeat_seconds=parts.options.heartbeat_seconds,
            max_content=parts.options.max_content,
            expires_at=self.expires_at,
            server_time=created_at(id_at(now_ms())),
            recovered=None if plan is None else plan.recovered,
        )

    def data_received(self, data: bytes) -> None:
        """Run received frames; called by the event loop."""
        self._parts.intake.received(self, data)

    def eof_received(self) -> None:
        """Note that the client closed its side; called by the event loop."""
        self.close_reason = self.close_reason or "client went away"

    def pause_writing(self) -> None:
        """Mark the socket slow; called by the event loop."""
        super().pause_writing()
        self._parts.registry.slow.add(self)

    def resume_writing(self) -> None:
        """Continue when the client has read the written bytes; called by the event loop."""
        super().resume_writing()
        self.answers_unsent = 0
        self.schedule_turn()
        self._parts.registry.slow.discard(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the socket from everywhere; called by the event loop."""
        super().connection_lost(exc)
        self.stop_timer()
        parts = self._parts
        if self not in parts.registry.sockets:
            return
        parts.registry.end_closing(self)
        parts.registry.remove(self)
        reason = self.close_reason or ("connection lost" if exc else "client went away")
        parts.metrics.socket_closed(reason)
        _logger.info(
            "disconnect",
            user=self.user,
            connection=self.connection_id,
            reason=reason,
            seconds=round(time.monotonic() - self.opened_at, 3),
        )

    def schedule_turn(self) -> None:
        self._parts.intake.schedule_turn(self)

    def renew(self, principal: Principal) -> bool:
        """Go by another token of the same user; return False if the socket is closing."""
        return self._parts.expiry.renew(self, principal)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, which ends in bounded time."""
        self._parts.closing.close(self, code, reason)

    def cut(self, reason: str) -> None:
        """Abort the connection and discard unsent bytes."""
        self.close_reason = self.close_reason or reason
        self._parts.registry.begin_closing(self)
        super().cut(reason)
