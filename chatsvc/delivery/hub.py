"""The open connections by user id."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import structlog

from chatsvc.core.errors import LogUnavailable
from chatsvc.delivery.connection import Connection
from chatsvc.delivery.subscriptions import Subscriptions
from chatsvc.log.state import ADOPTING

_SLICE: Final = 100
"""Users whose channels are read between two turns of the loop."""

_logger = structlog.get_logger("chatsvc.delivery")
_NONE: tuple[Connection, ...] = ()


class Hub:
    """Every open connection, including those that resume.

    A user can have any number of connections; adding and removing one takes constant time.

    Args:
        subscriptions: told of each user's first connection, and that the last is gone.
    """

    def __init__(self, subscriptions: Subscriptions | None = None) -> None:
        self.subscriptions = subscriptions or Subscriptions()
        # A single connection is not in a collection: that would cost a tenth of the memory of
        # an idle socket.
        self._users: dict[str, Connection | dict[Connection, None]] = {}
        self.size = 0

    def add(self, connection: Connection) -> None:
        """Add a connection, which is live from now on. Idempotent.

        One whose user's channels cannot be read is cut instead: it would miss what is for it.
        """
        user = connection.user
        known = self._users.get(user)
        if known is None:
            if not self._subscribe(user):
                connection.cut("error")
                return
            self._users[user] = connection
        elif connection in self.of(user):
            return
        elif isinstance(known, dict):
            known[connection] = None
        else:
            self._users[user] = {known: None, connection: None}
        connection.live = True
        self.size += 1

    async def resubscribe(self) -> None:
        """Read the channels of all users anew, some at a time: the log's state is another."""
        for at, user in enumerate(list(self._users), 1):
            if user in self._users:
                self.subscriptions.close(user)
                if not self._subscribe(user):
                    for connection in list(self.of(user)):
                        connection.cut("error")
            if at % _SLICE == 0:
                await asyncio.sleep(0)

    def _subscribe(self, user: str) -> bool:
        """Return False if the user would miss what is for them."""
        try:
            self.subscriptions.open(user)
        except LogUnavailable as exc:
            if exc.code != ADOPTING:
                _logger.error("subscriptions_not_read", user=user, error=str(exc))
                return False
            # Nothing is delivered to members before :meth:`resubscribe`.
        return True

    def discard(self, connection: Connection) -> bool:
        """Remove a connection; return whether it was in the hub. Idempotent."""
        user = connection.user
        if connection not in self.of(user):
            return False
        known = self._users[user]
        if isinstance(known, dict) and len(known) > 1:
            del known[connection]
        else:
            del self._users[user]
            self.subscriptions.close(user)
        connection.live = False
        self.size -= 1
        return True

    def of(self, user: str) -> Collection[Connection]:
        """Return the connections of a user, oldest first. Not a copy."""
        known = self._users.get(user)
        if known is None:
            return _NONE
        return known if isinstance(known, dict) else (known,)

    def count(self, users: Iterable[str]) -> dict[str, int]:
        """Return the number of connections of each user."""
        return {user: len(self.of(user)) for user in users}

    def __iter__(self) -> Iterator[Connection]:
        for user in list(self._users):
            yield from list(self.of(user))
