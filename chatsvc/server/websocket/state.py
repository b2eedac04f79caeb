"""The state of one socket.

There is a socket for every connected client, most of them idle, and their memory bounds how many
a process can hold. An object of its own for each part (queue, heartbeat, token, closing) would
cost 32 bytes and a reference each, a tenth of a socket together. So the parts are one object
for all sockets, with its logic and what it needs, and their state is in the slots of the socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from chatsvc.api.access import USER
from chatsvc.auth.principal import Principal
from chatsvc.delivery.connection import Connection
from chatsvc.server.websocket.options import SocketOptions
from chatsvc.wire import frames

NO_EVENTS: Final[Sequence[frames.Event]] = ()


class SocketState(Connection):
    """A connection with the state of its parts.

    - :mod:`~chatsvc.server.websocket.intake`: ``events`` are decoded frames that have not run
      yet; ``turn_due``: another turn is scheduled; ``decoder`` is ``None`` once all further
      input is ignored; ``received``: bytes arrived since the last heartbeat.
    - :mod:`~chatsvc.server.websocket.rate_limit`: ``spent_until``.
    - :mod:`~chatsvc.server.websocket.command_queue`: ``unanswered`` commands wait for their
      answer; ``pending`` is one of them that has no place in the log yet; ``blocked``: the next
      frame must wait for them.
    - :mod:`~chatsvc.server.websocket.answers`: ``outbox`` are queued answers;
      ``answers_unsent`` is the number of bytes of answers that were written since the socket
      became slow.
    - :mod:`~chatsvc.server.websocket.receipts`: ``receipts``: the client asked for them;
      ``unstored`` is the highest id that was acknowledged.
    - :mod:`~chatsvc.server.websocket.expiry`: ``expires_at``, ``warn_ahead``, ``warned_at``.
    - :mod:`~chatsvc.server.websocket.closing`: ``close_reason``, and ``sealed`` of the connection.
    - :mod:`~chatsvc.server.websocket.heartbeat`: ``announced`` is the position of the last
      cursor that was sent.

    ``timer`` is the only timer of a socket: for the expiry of its token, later for its closing.
    ``granted`` is the principal of a caller with more than :data:`~chatsvc.api.access.USER`.
    """

    __slots__ = (
        "announced",
        "answers_unsent",
        "blocked",
        "close_reason",
        "connection_id",
        "decoder",
        "events",
        "expires_at",
        "granted",
        "opened_at",
        "outbox",
        "pending",
        "receipts",
        "received",
        "spent_until",
        "timer",
        "turn_due",
        "unanswered",
        "unstored",
        "warn_ahead",
        "warned_at",
    )

    def __init__(
        self,
        options: SocketOptions,
        principal: Principal,
        *,
        connection_id: str,
        device: str,
        echo: bool,
        receipts: bool = False,
        kinds: frozenset[str] | None = None,
    ) -> None:
        # Device names must not contain a slash: no other connection has the same origin.
        origin = f"{device}/{connection_id}" if device else connection_id
        super().__init__(
            principal.user, origin, echo=echo, buffer_limit=options.buffer_limit, kinds=kinds
        )
        self.connection_id = connection_id
        self.opened_at = time.monotonic()
        self.decoder: frames.FrameDecoder | None = frames.FrameDecoder(options.max_frame)
        self.events = NO_EVENTS
        self.turn_due = False
        self.received = True
        self.spent_until = 0.0
        self.blocked = False
        self.pending: asyncio.Future[Any] | None = None
        self.unanswered = 0
        self.outbox: list[bytes] | None = None
        self.answers_unsent = 0
        self.receipts = receipts
        self.unstored = 0
        self.announced = 0
        self.close_reason = ""
        self.timer: asyncio.TimerHandle | None = None
        self.warn_ahead = 0.0
        self.warned_at = 0.0
        self.accept(principal)

    def accept(self, principal: Principal) -> None:
        """Take over what a token of this user says."""
        self.expires_at = principal.expires_at
        usual = principal.roles == USER.roles and not principal.scopes
        self.granted = None if usual else principal

    @property
    def roles(self) -> frozenset[str]:
        """The roles of the user."""
        return USER.roles if self.granted is None else self.granted.roles

    @property
    def scopes(self) -> frozenset[str]:
        """What the token permits beside what every token does."""
        return USER.scopes if self.granted is None else self.granted.scopes

    @property
    def reading(self) -> bool:
        """Whether the transport is reading."""
        return self.transport is not None and self.transport.is_reading()

    def set_reading(self, reading: bool) -> None:
        """Resume or pause reading. While reading is paused a heartbeat cannot be missed."""
        transport = self.transport
        if transport is None or transport.is_closing() or reading == transport.is_reading():
            return
        if reading:
            self.received = True
            transport.resume_reading()
        else:
            transport.pause_reading()

    def set_timer(self, delay: float, action: Callable[[SocketState], None]) -> None:
        """Replace the timer; ``action`` is called with this socket."""
        self.stop_timer()
        self.timer = asyncio.get_running_loop().call_later(delay, action, self)

    def stop_timer(self) -> None:
        """Remove the timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def schedule_turn(self) -> None:
        """Schedule the frames that had to wait, if there are any and the next one can run."""
        raise NotImplementedError
