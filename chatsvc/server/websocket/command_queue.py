"""Run the commands of a socket in order, and answer them.

Nothing here waits: what has to be waited for is a future with a callback.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from chatsvc.api.command import Command, CommandReply
from chatsvc.core.errors import ChatError
from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.budget import units_of
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.error_frames import error_frame, internal_error, ref_of
from chatsvc.server.websocket.rate_limit import RateLimit
from chatsvc.server.websocket.receipts import Receipts
from chatsvc.server.websocket.state import SocketState

_AHEAD_BYTES: Final = 1024
"""The maximum size of a frame that may overtake others: more than a ``ping`` with the longest
``ref``. Whatever is longer waits without a look at it."""

_encode = msgspec.json.Encoder().encode
_logger = structlog.get_logger("chatsvc.socket")


class CommandQueue:
    """Runs the commands of all sockets, each socket's in the order in which they came.

    A socket is ``blocked``, and its next frame waits, while ``unacked_max`` of its commands are
    unanswered, or one of them is a Task: that has no place in the log yet, and only commands
    that are declared so may overtake it.
    """

    def __init__(
        self,
        table: CommandTable,
        *,
        unacked_max: int,
        answers: Answers,
        rate: RateLimit,
        receipts: Receipts,
    ) -> None:
        self._decode = table.decode
        self._commands = table.by_request
        self._overtaking = [b'"%b"' % one.name.encode() for one in table.commands if one.overtakes]
        self._unacked_max = unacked_max
        self._queue = answers.queue
        self._charge = rate.charge
        self._receipts = receipts
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def stop(self) -> None:
        """Cancel the commands that somebody else decides; to be called when sockets are closed."""
        self._stopping = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def run(self, socket: SocketState, payload: bytes) -> None:
        """Decode one text frame and run its command."""
        try:
            try:
                request = self._decode(payload)
                command = self._commands[type(request)]
                units = command.units
                if units and not self._charge(socket, units):
                    return
                handled = command.handler(socket, request)
                if isinstance(handled, CommandReply):
                    self._answer(socket, handled)
                    return
                # What the log bounds costs one unit if it fails, another command by its size.
                cost = units_of(payload) if units else 1
                handled.add_done_callback(partial(self._finish, socket, command, request.ref, cost))
                # Counted once nothing more can raise: only _finish counts down again.
                socket.unanswered += 1
                if isinstance(handled, asyncio.Task):
                    socket.pending = handled
                    self._tasks.add(handled)
                    handled.add_done_callback(self._tasks.discard)
                if socket.pending is not None or socket.unanswered >= self._unacked_max:
                    socket.blocked = True
            except ChatError as exc:
                frame = error_frame(exc, ref_of(payload))
                self._answer(socket, CommandReply(frame, units=units_of(payload)))
        except Exception:
            _logger.exception("frame_failed", user=socket.user, connection=socket.connection_id)
            frame = internal_error(ref_of(payload))
            self._answer(socket, CommandReply(frame, units=units_of(payload)))

    def run_ahead(self, socket: SocketState, payload: bytes) -> bool:
        """Run a frame before earlier ones if its command overtakes; return whether it did."""
        if len(payload) > _AHEAD_BYTES or not any(tag in payload for tag in self._overtaking):
            return False  # a held frame may be looked at once per turn: without decoding it
        try:
            request = self._decode(payload)
        except ChatError:
            return False  # refused in its turn
        if not self._commands[type(request)].overtakes:
            return False
        self.run(socket, payload)
        return True

    def _finish(
        self,
        socket: SocketState,
        command: Command,
        ref: str | None,
        cost: int,
        done: asyncio.Future[Any],
    ) -> None:
        socket.unanswered -= 1
        if done is socket.pending:
            socket.pending = None
        try:
            try:
                reply = command.reply(done.result(), ref)
            except ChatError as exc:
                reply = CommandReply(error_frame(exc, ref), units=cost)
            self._answer(socket, reply)
        except (asyncio.CancelledError, Exception) as exc:
            if self._stopping and done.cancelled():
                return  # there is nobody to answer
            _logger.error("command_failed", command=command.name, user=socket.user, exc_info=exc)
            self._answer(socket, CommandReply(internal_error(ref), units=cost))
        finally:
            if socket.blocked and socket.pending is None:
                socket.blocked = False
                socket.schedule_turn()

    def _answer(self, socket: SocketState, reply: CommandReply) -> None:
        frame, record_id, units = reply.frame, reply.record_id, reply.units
        payload = None if frame is None else _encode(frame)  # first: nothing is done if it raises
        if units:
            self._charge(socket, units)
        if payload is not None:
            self._queue(socket, payload)
        if record_id and socket.receipts:
            self._receipts.acknowledged(socket, record_id)
