"""Who is connected: user id → connections."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from chatsvc.delivery.connection import Connection

_NONE: tuple[Connection, ...] = ()


class Hub:
    """Every open connection, those that resume included. A user has any number, and each
    comes and goes in the same short time, however many there are."""

    def __init__(self) -> None:
        # A tuple where there is one: a dictionary of its own for each user would cost a
        # tenth of an idle socket.
        self._users: dict[str, tuple[Connection] | dict[Connection, None]] = {}
        self.size = 0

    def add(self, connection: Connection) -> None:
        """From now on it is served what comes. Idempotent."""
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
        """Whether it was here. Idempotent."""
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
        """The connections of one user, oldest first. Not a copy."""
        return self._users.get(user, _NONE)

    def count(self, users: Iterable[str]) -> dict[str, int]:
        """How many connections each user has."""
        return {user: len(self._users.get(user, _NONE)) for user in users}

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._users.values()):
            yield from list(connections)
