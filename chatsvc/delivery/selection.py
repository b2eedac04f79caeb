"""Which records a connection receives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatsvc.core.filters import Filterable, Filters
from chatsvc.core.kinds import Kinds
from chatsvc.delivery.connection import Connection


class Sent(Filterable, Protocol):
    """A record, or an entry of a page, as far as it decides who receives it."""

    @property
    def origin(self) -> str:
        """The connection or device that it came from."""


class Selection:
    """Decides by kind, sender and origin, and by the user's filters.

    Messages of a connection's own user are for it only with ``echo``. Every other record is
    for all connections of its sender, the one that caused it included: it says what the state
    is now. A connection that asked for ``kinds`` receives no others.

    Args:
        kinds: those that count are messages; a kind that is not known is none.
        filters: of the connected users who have any; it changes with them.
    """

    def __init__(self, kinds: Kinds, filters: Mapping[str, Filters]) -> None:
        self.is_message = kinds.counts
        self._is_blockable = kinds.is_blockable
        self.filters = filters

    def live(self, connection: Connection, sent: Sent) -> bool:
        """Return whether a live record is delivered to the connection."""
        return self._is_for(connection, sent) and (
            not self.is_message(sent.kind) or connection.wants(sent.sender, sent.origin)
        )

    def missed(self, connection: Connection, sent: Sent) -> bool:
        """Return whether a missed record is replayed to the connection."""
        return self._is_for(connection, sent) and (
            not self.is_message(sent.kind) or connection.wants_missed(sent.sender, sent.origin)
        )

    def _is_for(self, connection: Connection, sent: Sent) -> bool:
        if connection.kinds is not None and sent.kind not in connection.kinds:
            return False
        filters = self.filters.get(connection.user)
        return filters is None or not filters.hides(sent, self._is_blockable)
