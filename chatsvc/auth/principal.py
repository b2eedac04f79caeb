"""The user that a token names, and how a token is turned into one."""

from __future__ import annotations

from typing import Protocol

import msgspec

from chatsvc.api.access import USER


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A verified user.

    ``expires_at`` is the token's ``exp`` in Unix seconds. ``roles`` and ``scopes`` decide what
    :class:`~chatsvc.api.access.Access` permits; no token gives others than these yet.
    """

    user: str
    expires_at: int
    roles: frozenset[str] = USER.roles
    scopes: frozenset[str] = USER.scopes


class Authenticator(Protocol):
    """Turns tokens into principals: ``known(token) or await authenticate(token)``.

    The first is for the usual case, a token that was seen before, and costs no step of the
    event loop. The second may have to ask another service.
    """

    def known(self, token: str) -> Principal | None:
        """Return the user of a token that is known to be valid now; ``None``: ask."""

    async def authenticate(self, token: str) -> Principal:
        """Return the user of a token.

        Raises:
            TokenExpired: its ``exp`` has passed.
            Unauthorized: it is refused for another reason.
            Unavailable: whether it is valid cannot be told now.
        """
