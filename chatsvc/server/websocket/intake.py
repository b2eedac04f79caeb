"""What comes in over a socket: read in turns, run in order, within its budget.

A read may bring a quarter of a megabyte, which is forty thousand empty frames. They are
run by the budget of a turn; then reading is paused, and the rest has its turn when the
loop has been round. The same holds while a send is waited for, or while the answers of
a client that does not read fill its buffer. Nothing is lost by it, and nothing overtakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from chatsvc.server.websocket.budget import ANSWERS_BYTES, TURN_UNITS, spend, units_of
from chatsvc.server.websocket.context import SocketContext
from chatsvc.server.websocket.speaker import Speaker
from chatsvc.wire import close_codes, frames

_NOTHING: Final[Sequence[frames.Event]] = ()
_logger = structlog.get_logger("chatsvc.socket")


class Intake(Speaker):
    """A connection that reads frames.

    ``_events`` were decoded and not run yet. ``_turn_due``: another turn is scheduled.
    ``_decoder`` is gone once nothing more is to be looked at. There are as few fields as can
    be: an idle socket has them all.
    """

    __slots__ = ("_closing", "_decoder", "_events", "_spent_until", "_turn_due", "heard")

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
        self.heard = True

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.heard = True
        decoder = self._decoder
        if decoder is None:
            return
        if self._events or decoder.unread or self._must_wait():
            decoder.feed(data, 0)  # behind what came before it
            self._read(wanted=False)
        else:
            self._take_turn(decoder, data)

    def go_on(self) -> None:
        """Have a turn soon, if there is anything left to run or reading is paused."""
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
            # Not even read: the close frame is out, and what it costs to throw away the
            # rest is what the bound is for.
            self._decoder = None
            self._read(wanted=False)
        return False

    @property
    def reading(self) -> bool:
        """Whether what the client sends is read now."""
        return self.transport is not None and self.transport.is_reading()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        raise NotImplementedError

    def closed_by_peer(self, event: frames.Event) -> None:
        """The peer's close frame has come."""
        raise NotImplementedError

    def framing_failed(self, failure: frames.FramingError) -> None:
        """Nothing more can be read."""
        raise NotImplementedError

    def _must_wait(self) -> bool:
        """Whether the next frame cannot be run yet. Once the socket is closing nothing is
        run any more, and the peer's close is all that is looked for."""
        if self._closing:
            return False
        return self._held or (bool(self.slow_since) and self._answers_unsent > ANSWERS_BYTES)

    def _next_turn(self) -> None:
        self._turn_due = False
        decoder, transport = self._decoder, self.transport
        if decoder is None or transport is None or transport.is_closing():
            self._events = _NOTHING
        elif not self._must_wait():
            self._take_turn(decoder, b"")

    def _take_turn(self, decoder: frames.FrameDecoder, data: bytes) -> None:
        context = self._context
        context.turn_left = TURN_UNITS
        events = self._events or decoder.feed(data, TURN_UNITS)
        if decoder.small_fragments:
            small_fragments, decoder.small_fragments = decoder.small_fragments, 0
            self.charge(small_fragments)
        done = 0
        for event in events:
            if context.turn_left <= 0 or self._decoder is None or self._must_wait():
                break
            done += 1
            self._take(event)
        if self._decoder is None or self.transport is None:
            self._events = _NOTHING
            return
        self._events = events[done:] if done < len(events) else _NOTHING
        if not self._events and decoder.failure is not None:
            self._decoder = None
            self.framing_failed(decoder.failure)
            return
        more = bool(self._events) or decoder.unread
        self._read(wanted=not more and not self._must_wait())
        if more:
            self.go_on()

    def _take(self, event: frames.Event) -> None:
        opcode = event.opcode
        if opcode == frames.CLOSE:
            self._decoder = None
            self.closed_by_peer(event)
        elif self._closing:
            self.charge(1)
        elif opcode == frames.TEXT:
            self._context.turn_left -= units_of(event.payload)
            self.hear(event.payload)
        elif opcode == frames.BINARY:
            self.close(close_codes.UNSUPPORTED_DATA, "text frames only")
        else:
            self.charge(1)
            if opcode == frames.PING:
                self.reply(event.payload, frames.PONG)

    def _read(self, *, wanted: bool) -> None:
        """Go on reading, or stop. Who is not read cannot miss a heartbeat."""
        transport = self.transport
        if transport is None or transport.is_closing() or wanted == transport.is_reading():
            return
        if wanted:
            self.heard = True
            transport.resume_reading()
        else:
            transport.pause_reading()
