"""Read the frames of a socket in turns and run them in order, within its budget.

One read can return a quarter of a megabyte, which is forty thousand empty frames. A turn runs
as many as its budget allows; then reading is paused, and the rest runs in the next turn of
the event loop. Frames also wait while a send is pending, and while the client does not read
its answers. No frame is lost, and the order is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from chatsvc.server.websocket.budget import (
    ANSWERS_BYTES,
    TURN_UNITS,
    UNIT_BYTES,
    spend,
    units_of,
)
from chatsvc.server.websocket.command_connection import CommandConnection
from chatsvc.server.websocket.context import SocketContext
from chatsvc.wire import close_codes, frames

_NOTHING: Final[Sequence[frames.Event]] = ()
_logger = structlog.get_logger("chatsvc.socket")


class Intake(CommandConnection):
    """A connection that reads frames.

    ``_events`` are decoded frames that have not run yet. ``_turn_due`` is true while another
    turn is scheduled. ``_decoder`` is ``None`` once all further input is ignored. ``received``
    is true if bytes arrived since the last heartbeat. The number of fields is kept low: every
    idle socket has them.
    """

    __slots__ = ("_closing", "_decoder", "_events", "_spent_until", "_turn_due", "received")

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
        super().__init__(
            context,
            user,
            connection_id=connection_id,
            device=device,
            echo=echo,
            receipts=receipts,
        )
        self._decoder: frames.FrameDecoder | None = frames.FrameDecoder(context.max_frame)
        self._events = _NOTHING
        self._spent_until = 0.0
        self._turn_due = False
        self._closing = False
        self.received = True

    def data_received(self, data: bytes) -> None:
        """Decode and run received bytes; called by the event loop."""
        self.received = True
        decoder = self._decoder
        if decoder is None:
            return
        if self._events or decoder.unread or self._must_wait():
            decoder.feed(data, 0)  # queued: earlier frames run first
            self._set_reading(False)
        else:
            self._run_turn(decoder, data)

    def schedule_turn(self) -> None:
        """Schedule a turn if reading is paused and the next frame can run."""
        if not self._turn_due and not self.reading and not self._must_wait():
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def charge(self, units: int) -> bool:
        self._context.turn_left -= units
        spent_until = spend(self._spent_until, units, asyncio.get_running_loop().time())
        if spent_until is not None:
            self._spent_until = spent_until
            return True
        if self._decoder is not None:
            _logger.warning("socket_rate", user=self.user, connection=self.connection_id)
            self.close(close_codes.POLICY_VIOLATION, "too many frames")
            # Stop reading: the close frame is sent, and even discarding the rest has a cost,
            # which the limit is there to bound.
            self._decoder = None
            self._set_reading(False)
        return False

    @property
    def reading(self) -> bool:
        """Whether the transport is reading."""
        return self.transport is not None and self.transport.is_reading()

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""
        raise NotImplementedError

    def closed_by_peer(self, event: frames.Event) -> None:
        """Handle the close frame of the peer."""
        raise NotImplementedError

    def framing_failed(self, failure: frames.FramingError) -> None:
        """Handle a framing error, after which nothing more can be decoded."""
        raise NotImplementedError

    def _must_wait(self) -> bool:
        """Return whether the next frame must wait.

        Once the socket is closing no frame waits: all but the peer's close frame are skipped.
        """
        if self._closing:
            return False
        return self._blocked or (bool(self.slow_since) and self._answers_unsent > ANSWERS_BYTES)

    def _next_turn(self) -> None:
        self._turn_due = False
        decoder, transport = self._decoder, self.transport
        if decoder is None or transport is None or transport.is_closing():
            self._events = _NOTHING
        elif not self._must_wait():
            self._run_turn(decoder, b"")

    def _run_turn(self, decoder: frames.FrameDecoder, data: bytes) -> None:
        context = self._context
        context.turn_left = TURN_UNITS
        events = self._events or decoder.feed(data, TURN_UNITS)
        if decoder.small_fragments:
            small_fragments, decoder.small_fragments = decoder.small_fragments, 0
            self.charge(small_fragments)
        done = 0
        for event in events:
            if context.turn_left <= 0 or self._decoder is None:
                break
            # Every frame comes through here: calls are spared where nothing waits, and for
            # the text message of few bytes that most frames are.
            if (self._blocked or self.slow_since) and self._must_wait():
                break
            done += 1
            if event.opcode == frames.TEXT and not self._closing:
                payload = event.payload
                context.turn_left -= 1 if len(payload) < UNIT_BYTES else units_of(payload)
                self.receive_text(payload)
            else:
                self._run_event(event)
        if self._decoder is None or self.transport is None:
            self._events = _NOTHING
            return
        self._events = events[done:] if done < len(events) else _NOTHING
        if not self._events and decoder.failure is not None:
            self._decoder = None
            self.framing_failed(decoder.failure)
            return
        more = bool(self._events) or decoder.unread
        self._set_reading(not more and not self._must_wait())
        if more:
            self.schedule_turn()

    def _run_event(self, event: frames.Event) -> None:
        """Run what is not a text message of an open socket."""
        opcode = event.opcode
        if opcode == frames.CLOSE:
            self._decoder = None
            self.closed_by_peer(event)
        elif self._closing:
            self.charge(1)
        elif opcode == frames.BINARY:
            self.close(close_codes.UNSUPPORTED_DATA, "text frames only")
        else:
            self.charge(1)
            if opcode == frames.PING:
                self.reply(event.payload, frames.PONG)

    def _set_reading(self, reading: bool) -> None:
        """Resume or pause reading. While reading is paused a heartbeat cannot be missed."""
        transport = self.transport
        if transport is None or transport.is_closing() or reading == transport.is_reading():
            return
        if reading:
            self.received = True
            transport.resume_reading()
        else:
            transport.pause_reading()
