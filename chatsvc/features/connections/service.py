"""The number of open sockets of users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatsvc.core.errors import Invalid
from chatsvc.core.limits import Limits
from chatsvc.core.participants import user_id_error


class Presence(Protocol):
    """The source of connection counts."""

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        """Return each of ``users`` with the number of its open sockets."""


class ConnectionService:
    """Look users up, within bounds."""

    def __init__(self, *, presence: Presence, limits: Limits) -> None:
        self._presence = presence
        self._max_users = limits.connection_lookup
        self._max_user_id = limits.user_id_characters

    async def count(self, users: list[str]) -> dict[str, int]:
        """Return each of ``users`` with the number of its open sockets.

        Raises:
            Invalid: at ``/users`` or an entry of it.
        """
        if not users:
            raise Invalid.at("/users", "too_few", "users must have at least 1 entry", 1)
        if len(users) > self._max_users:
            raise Invalid.at(
                "/users",
                "too_many",
                f"users must have at most {self._max_users} entries",
                self._max_users,
            )
        for index, user in enumerate(users):
            error = user_id_error(user, self._max_user_id)
            if error is not None:
                raise Invalid.at(f"/users/{index}", *error)
        return await self._presence.count(list(dict.fromkeys(users)))
