"""Read the frames of a socket in turns and run them in order, within its budget.

One read can return a quarter of a megabyte, which is forty thousand empty frames. A turn runs
as many as its budget allows; then reading is paused, and the rest runs in the next turn of
the event loop. Frames also wait while a send is pending, and while the client does not read
its answers. No frame is lost, and the order is kept.
"""

from __future__ import annotations

import asyncio

from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.budget import ANSWERS_BYTES, TURN_UNITS, UNIT_BYTES, units_of
from chatsvc.server.websocket.closing import Closing
from chatsvc.server.websocket.command_queue import CommandQueue
from chatsvc.server.websocket.rate_limit import RateLimit
from chatsvc.server.websocket.state import NO_EVENTS, SocketState
from chatsvc.wire import close_codes, frames


class Intake:
    """Reads and runs the frames of all sockets."""

    def __init__(
        self, *, commands: CommandQueue, closing: Closing, rate: RateLimit, answers: Answers
    ) -> None:
        self._run_command = commands.run
        self._closing = closing
        self._rate = rate
        self._answers = answers

    def received(self, socket: SocketState, data: bytes) -> None:
        """Decode and run received bytes."""
        socket.received = True
        decoder = socket.decoder
        if decoder is None:
            return
        if socket.events or decoder.unread or _must_wait(socket):
            decoder.feed(data, 0)  # queued: earlier frames run first
            socket.set_reading(False)
        else:
            self._run_turn(socket, decoder, data)

    def schedule_turn(self, socket: SocketState) -> None:
        """Schedule a turn if reading is paused and the next frame can run."""
        if not socket.turn_due and not socket.reading and not _must_wait(socket):
            socket.turn_due = True
            asyncio.get_running_loop().call_soon(self._next_turn, socket)

    def _next_turn(self, socket: SocketState) -> None:
        socket.turn_due = False
        decoder, transport = socket.decoder, socket.transport
        if decoder is None or transport is None or transport.is_closing():
            socket.events = NO_EVENTS
        elif not _must_wait(socket):
            self._run_turn(socket, decoder, b"")

    def _run_turn(self, socket: SocketState, decoder: frames.FrameDecoder, data: bytes) -> None:
        rate = self._rate
        rate.turn_left = TURN_UNITS
        events = socket.events or decoder.feed(data, TURN_UNITS)
        if decoder.small_fragments:
            small_fragments, decoder.small_fragments = decoder.small_fragments, 0
            rate.charge(socket, small_fragments)
        done = 0
        for event in events:
            if rate.turn_left <= 0 or socket.decoder is None:
                break
            # Every frame comes through here: calls are spared where nothing waits, and for
            # the text message of few bytes that most frames are.
            if (socket.blocked or socket.slow_since) and _must_wait(socket):
                break
            done += 1
            if event.opcode == frames.TEXT and not socket.sealed:
                payload = event.payload
                rate.turn_left -= 1 if len(payload) < UNIT_BYTES else units_of(payload)
                self._run_command(socket, payload)
            else:
                self._run_event(socket, event)
        if socket.decoder is None or socket.transport is None:
            socket.events = NO_EVENTS
            return
        socket.events = events[done:] if done < len(events) else NO_EVENTS
        if not socket.events and decoder.failure is not None:
            socket.decoder = None
            self._closing.fail(socket, decoder.failure)
            return
        more = bool(socket.events) or decoder.unread
        socket.set_reading(not more and not _must_wait(socket))
        if more:
            self.schedule_turn(socket)

    def _run_event(self, socket: SocketState, event: frames.Event) -> None:
        """Run what is not a text message of an open socket."""
        opcode = event.opcode
        if opcode == frames.CLOSE:
            socket.decoder = None
            self._closing.closed_by_peer(socket, event)
        elif socket.sealed:
            self._rate.charge(socket, 1)
        elif opcode == frames.BINARY:
            self._closing.close(socket, close_codes.UNSUPPORTED_DATA, "text frames only")
        else:
            self._rate.charge(socket, 1)
            if opcode == frames.PING:
                self._answers.queue(socket, event.payload, frames.PONG)


def _must_wait(socket: SocketState) -> bool:
    """Return whether the next frame must wait.

    Once the socket is closing no frame waits: all but the peer's close frame are skipped.
    """
    if socket.sealed:
        return False
    return socket.blocked or (bool(socket.slow_since) and socket.answers_unsent > ANSWERS_BYTES)
