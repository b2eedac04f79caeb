"""Who is connected: user id → connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chatsvc.delivery.connection import Connection

_NONE: tuple[Connection, ...] = ()


class Hub:
    """Every connection that is live. A user has any number."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[Connection, ...]] = {}
        self.size = 0

    def add(self, connection: Connection) -> None:
        """From now on it is served what comes."""
        connection.live = True
        self._users[connection.user] = (*self._users.get(connection.user, _NONE), connection)
        self.size += 1

    def discard(self, connection: Connection) -> None:
        """Idempotent."""
        known = self._users.get(connection.user, _NONE)
        rest = tuple(other for other in known if other is not connection)
        if len(rest) == len(known):
            return
        connection.live = False
        self.size -= 1
        if rest:
            self._users[connection.user] = rest
        else:
            del self._users[connection.user]

    def of(self, user: str) -> tuple[Connection, ...]:
        """The connections of one user, oldest first."""
        return self._users.get(user, _NONE)

    def count(self, users: Iterable[str]) -> dict[str, int]:
        """How many connections each user has."""
        return {user: len(self._users.get(user, _NONE)) for user in users}

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._users.values()):
            yield from connections
