"""Who may call an operation or a command: nobody's name, a user, or a user with more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

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


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call.

    Args:
        roles: the caller must have one of them. Empty without scopes: anybody may call, without
            a token. Empty with scopes: :data:`USER_ROLE`, since a scope is a token's.
        scopes: the caller must have all of them.

    Raises:
        ValueError: it would not mean what it says: not sets of names, or :data:`USER_ROLE`, which
            every caller has, as one of several roles.
    """

    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for kind, names in (("roles", self.roles), ("scopes", self.scopes)):
            _check_names(kind, names)
        if USER_ROLE in self.roles and len(self.roles) > 1:
            raise ValueError(f"every caller has the role {USER_ROLE}: it must be the only one")
        if self.scopes and not self.roles:
            object.__setattr__(self, "roles", frozenset({USER_ROLE}))

    @property
    def needs_token(self) -> bool:
        """Whether a call needs a token."""
        return bool(self.roles)

    @property
    def needs_check(self) -> bool:
        """Whether a caller with a valid token may lack something, so that it must be checked."""
        return bool(self.scopes) or bool(self.roles - {USER_ROLE})

    def check(self, caller: Caller) -> None:
        """Check that the caller has a role and every scope.

        Raises:
            Forbidden: it has not; the detail names what must be there.
        """
        if self.roles and not self.roles & caller.roles:
            wanted = " or ".join(sorted(self.roles))
            raise Forbidden(f"the caller must have the role {wanted}")
        missing = self.scopes - caller.scopes
        if missing:
            raise Forbidden(f"the token must have the scope {', '.join(sorted(missing))}")


def _check_names(kind: str, names: object) -> None:
    if not isinstance(names, frozenset):
        raise ValueError(f"{kind} must be a frozenset of names, not {names!r}")
    for name in names:
        if not isinstance(name, str) or not name or name != name.strip():
            raise ValueError(f"{kind} must be names without white space around them: {name!r}")


ANYBODY: Final = Access()
"""Everybody, without a token."""
USER: Final = Access(roles=frozenset({USER_ROLE}))
"""Every user with a valid token."""
