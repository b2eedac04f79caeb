"""Read the frames of a socket in turns and run them in order, within its budget.

One read can return a quarter of a megabyte, which is forty thousand empty frames. A turn runs
as many as its budget allows; then reading is paused, and the rest runs in the next turn of
the event loop. Frames also wait while a send is pending, and while the client does not read
its answers. No frame is lost, and the order is kept.

While a Task is pending (an ``auth`` that another service decides, a send that is looked up),
reading goes on: otherwise a client that is gone would not be found. What may overtake the Task
runs, at once; up to a turn's budget of other frames is held for its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

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
        self._run_ahead = commands.run_ahead
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
            if not decoder.unread and _may_overtake(socket):
                self._look_ahead(socket, decoder, data)
                return
            decoder.feed(data, 0)  # queued: earlier frames run first
            socket.set_reading(False)
        else:
            self._run_turn(socket, decoder, data)

    def schedule_turn(self, socket: SocketState) -> None:
        """Schedule a turn if there may be a waiting frame, and it can run now.

        There may be one while events are held, and while reading is paused.
        """
        if socket.turn_due or (socket.reading and not socket.events):
            return
        if not _must_wait(socket) or _may_overtake(socket):
            socket.turn_due = True
            asyncio.get_running_loop().call_soon(self._next_turn, socket)

    def _next_turn(self, socket: SocketState) -> None:
        socket.turn_due = False
        decoder, transport = socket.decoder, socket.transport
        if decoder is None or transport is None or transport.is_closing():
            socket.events = NO_EVENTS
        elif not _must_wait(socket):
            self._run_turn(socket, decoder, b"")
        elif _may_overtake(socket):
            self._look_ahead(socket, decoder, b"")

    def _run_turn(self, socket: SocketState, decoder: frames.FrameDecoder, data: bytes) -> None:
        rate = self._rate
        rate.turn_left = TURN_UNITS
        events = socket.events or decoder.feed(data, TURN_UNITS)
        if decoder.small_fragments:
            self._charge_fragments(socket, decoder)
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
        rest = events[done:] if done < len(events) else NO_EVENTS
        if socket.pending is not None and not socket.sealed:
            self._hold(socket, decoder, [], rest)
            return
        socket.events = rest
        # As a frame would, the failure has its turn behind the answers that frames wait for.
        if decoder.failure is not None and not rest and (socket.sealed or not socket.blocked):
            socket.decoder = None
            self._closing.fail(socket, decoder.failure)
            return
        more = bool(rest) or decoder.unread
        socket.set_reading(not more and not _must_wait(socket))
        if more:
            self.schedule_turn(socket)

    def _look_ahead(self, socket: SocketState, decoder: frames.FrameDecoder, data: bytes) -> None:
        """Decode what comes while a Task is pending; run what may overtake it, hold the rest."""
        self._rate.turn_left = TURN_UNITS
        events = decoder.feed(data, TURN_UNITS)
        if decoder.small_fragments:
            self._charge_fragments(socket, decoder)
        self._hold(socket, decoder, list(socket.events), events)

    def _hold(
        self,
        socket: SocketState,
        decoder: frames.FrameDecoder,
        held: list[frames.Event],
        events: Sequence[frames.Event],
    ) -> None:
        """Hold frames until the pending Task is done, but run those that may overtake it."""
        for event in events:
            if socket.decoder is None:
                break
            if event.opcode == frames.TEXT:
                ran = not socket.sealed and self._run_ahead(socket, event.payload)
            elif ran := event.opcode in (frames.PING, frames.PONG):
                self._run_event(socket, event)
            if not ran:
                held.append(event)
        if socket.decoder is None or socket.transport is None:
            socket.events = NO_EVENTS
            return
        socket.events = held
        ended = decoder.unread or decoder.failure is not None
        socket.set_reading(not ended and _may_overtake(socket))
        if decoder.unread or socket.sealed:
            self.schedule_turn(socket)

    def _charge_fragments(self, socket: SocketState, decoder: frames.FrameDecoder) -> None:
        small_fragments, decoder.small_fragments = decoder.small_fragments, 0
        self._rate.charge(socket, small_fragments)

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


def _may_overtake(socket: SocketState) -> bool:
    """Return whether what comes may overtake the Task that is pending.

    It may while the frames that are held are within their bound, and the client takes its answers.
    """
    if socket.pending is None or socket.sealed:
        return False
    if socket.slow_since and socket.answers_unsent > ANSWERS_BYTES:
        return False
    return sum(units_of(event.payload) for event in socket.events) < TURN_UNITS
