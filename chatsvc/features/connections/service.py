"""The number of open sockets of users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatsvc.api.fields import check_user_ids
from chatsvc.core.limits import Limits


class Presence(Protocol):
    """The source of connection counts."""

    async def count(self, users: Sequence[str]) -> dict[str, int]:
        """Return each of ``users`` with the number of its open sockets."""


class ConnectionService:
    """Look users up, within bounds."""

    def __init__(self, *, presence: Presence, limits: Limits) -> None:
        self._presence = presence
        self._limits = limits

    async def count(self, users: list[str]) -> dict[str, int]:
        """Return each of ``users`` with the number of its open sockets.

        Raises:
            Invalid: at ``/users`` or an entry of it.
        """
        check_user_ids(users, "users", self._limits.connection_lookup, self._limits)
        return await self._presence.count(list(dict.fromkeys(users)))
