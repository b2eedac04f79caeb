"""Which records a connection receives."""

from __future__ import annotations

from typing import Protocol

from chatsvc.core.kinds import Kinds
from chatsvc.delivery.connection import Connection


class Sent(Protocol):
    """A record, or an entry of a page, as far as it decides who receives it."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def sender(self) -> str:
        """The user who caused it."""

    @property
    def origin(self) -> str:
        """The connection or device that it came from."""


class Selection:
    """Decides by kind, sender and origin.

    Messages of a connection's own user are for it only with ``echo``. Every other record is
    for all connections of its sender, the one that caused it included: it says what the state
    is now. A connection that asked for ``kinds`` receives no others.

    Args:
        kinds: those that count are messages; a kind that is not known is none.
    """

    def __init__(self, kinds: Kinds) -> None:
        self.is_message = kinds.counts

    def live(self, connection: Connection, sent: Sent) -> bool:
        """Return whether a live record is delivered to the connection."""
        if connection.kinds is not None and sent.kind not in connection.kinds:
            return False
        return not self.is_message(sent.kind) or connection.wants(sent.sender, sent.origin)

    def missed(self, connection: Connection, sent: Sent) -> bool:
        """Return whether a missed record is replayed to the connection."""
        if connection.kinds is not None and sent.kind not in connection.kinds:
            return False
        return not self.is_message(sent.kind) or connection.wants_missed(sent.sender, sent.origin)
