"""Who may call an operation or a command: nobody's name, a user, or a user with more."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from chatsvc.core.errors import Forbidden

USER_ROLE: Final = "user"
"""The role of everybody with a valid token."""


class Caller(Protocol):
    """The caller of an operation or a command: a verified principal."""

    @property
    def user(self) -> str:
        """The user id."""

    @property
    def roles(self) -> frozenset[str]:
        """What the caller is; :data:`USER_ROLE` always."""

    @property
    def scopes(self) -> frozenset[str]:
        """What the token permits beside what every token does."""


class Access(NamedTuple):
    """Who may call.

    Args:
        roles: the caller must have one of them; empty: anybody may call, without a token.
        scopes: the caller must have all of them.
    """

    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    @property
    def needs_token(self) -> bool:
        """Whether a call needs a token."""
        return bool(self.roles)

    def check(self, caller: Caller) -> None:
        """Check that the caller has a role and every scope.

        Raises:
            Forbidden: it has not; the detail names what must be there.
        """
        if not self.roles & caller.roles:
            wanted = " or ".join(sorted(self.roles))
            raise Forbidden(f"the caller must have the role {wanted}")
        missing = self.scopes - caller.scopes
        if missing:
            raise Forbidden(f"the token must have the scope {', '.join(sorted(missing))}")


ANYBODY: Final = Access()
"""Everybody, without a token."""
USER: Final = Access(roles=frozenset({USER_ROLE}))
"""Every user with a valid token."""
