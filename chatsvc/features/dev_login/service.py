"""Tokens for any user without a login: only for development."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chatsvc.core.limits import Limits
from chatsvc.core.participants import check_user_id

Mint = Callable[[str], tuple[str, int]]
"""Returns a token of a user id, and its expiry in Unix seconds."""


class Token(msgspec.Struct, kw_only=True):
    """A token that this service accepts. ``expires_at`` in Unix seconds."""

    token: str
    user: str
    expires_at: int


class DevLogin:
    """Make tokens with the development secret, which is not the application's own."""

    def __init__(self, *, mint: Mint, limits: Limits) -> None:
        self._mint = mint
        self._max_user_id = limits.user_id_characters

    def token(self, user: str) -> Token:
        """Return a token for ``user``.

        Raises:
            Invalid: at ``/user``.
        """
        check_user_id(user, "/user", self._max_user_id)
        token, expires_at = self._mint(user)
        return Token(token=token, user=user, expires_at=expires_at)
