"""The open connections by user id."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from chatsvc.delivery.connection import Connection

_NONE: tuple[Connection, ...] = ()


class Hub:
    """Every open connection, including those that resume.

    A user can have any number of connections; adding and removing one takes constant time.
    """

    def __init__(self) -> None:
        # A tuple for a single connection: a dictionary for each user would cost a tenth of
        # the memory of an idle socket.
        self._users: dict[str, tuple[Connection] | dict[Connection, None]] = {}
        self.size = 0

    def add(self, connection: Connection) -> None:
        """Add a connection, which is live from now on. Idempotent."""
        user = connection.user
        known = self._users.get(user)
        if known is None:
            self._users[user] = (connection,)
        elif connection in known:
            return
        elif isinstance(known, dict):
            known[connection] = None
        else:
            self._users[user] = {known[0]: None, connection: None}
        connection.live = True
        self.size += 1

    def discard(self, connection: Connection) -> bool:
        """Remove a connection; return whether it was in the hub. Idempotent."""
        user = connection.user
        known = self._users.get(user, _NONE)
        if connection not in known:
            return False
        if isinstance(known, dict) and len(known) > 1:
            del known[connection]
        else:
            del self._users[user]
        connection.live = False
        self.size -= 1
        return True

    def of(self, user: str) -> Collection[Connection]:
        """Return the connections of a user, oldest first. Not a copy."""
        return self._users.get(user, _NONE)

    def count(self, users: Iterable[str]) -> dict[str, int]:
        """Return the number of connections of each user."""
        return {user: len(self._users.get(user, _NONE)) for user in users}

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._users.values()):
            yield from list(connections)
