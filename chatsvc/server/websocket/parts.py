"""The parts that all sockets share, put together once."""

from __future__ import annotations

from typing import Protocol

from chatsvc.auth.principal import Authenticator
from chatsvc.delivery.hub import Hub
from chatsvc.delivery.resume import Resumer
from chatsvc.log.acknowledgements import Acknowledgements
from chatsvc.log.tail import Tail
from chatsvc.server.websocket.answers import Answers
from chatsvc.server.websocket.closing import Closing
from chatsvc.server.websocket.command_queue import CommandQueue
from chatsvc.server.websocket.command_table import CommandTable
from chatsvc.server.websocket.expiry import TokenExpiry
from chatsvc.server.websocket.heartbeat import Heartbeat
from chatsvc.server.websocket.intake import Intake
from chatsvc.server.websocket.options import SocketOptions
from chatsvc.server.websocket.rate_limit import RateLimit
from chatsvc.server.websocket.receipts import Receipts
from chatsvc.server.websocket.registry import SocketRegistry


class SocketMetrics(Protocol):
    """The metrics of sockets."""

    def socket_opened(self) -> None:
        """Count an opened socket."""

    def socket_closed(self, reason: str) -> None:
        """Count a closed socket by its reason."""


class SocketParts:
    """What every socket of a process is made of, but its state.

    Args:
        commands: those that clients can send.
        hub: where sockets are delivered to.
        tail: of the log.
        acknowledgements: of the log.
        resumer: sends what a client missed.
        authenticator: of the tokens of handshakes.
        metrics: told of opened and closed sockets.
    """

    def __init__(
        self,
        *,
        commands: CommandTable,
        options: SocketOptions,
        hub: Hub,
        tail: Tail,
        acknowledgements: Acknowledgements,
        resumer: Resumer,
        authenticator: Authenticator,
        metrics: SocketMetrics,
    ) -> None:
        self.options = options
        self.registry = registry = SocketRegistry(hub=hub, tail=tail, resumer=resumer)
        self.hub = hub
        self.tail = tail
        self.resumer = resumer
        self.authenticator = authenticator
        self.metrics = metrics
        self.answers = Answers(acknowledgements)
        self.receipts = Receipts(registry, tail, self.answers)
        self.closing = Closing(registry, self.answers)
        self.rate = RateLimit(self.closing)
        self.expiry = TokenExpiry(options.heartbeat_seconds, self.closing, self.answers)
        self.heartbeat = Heartbeat(
            tail=tail, resumer=resumer, closing=self.closing, expiry=self.expiry
        )
        self.commands = CommandQueue(
            commands,
            unacked_max=options.unacked_max,
            answers=self.answers,
            rate=self.rate,
            receipts=self.receipts,
        )
        self.intake = Intake(
            commands=self.commands, closing=self.closing, rate=self.rate, answers=self.answers
        )
