"""Who may call, by role and scope."""

from __future__ import annotations

import pytest

from chatsvc.api.access import ANYBODY, USER, Access
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Forbidden

ALICE = Principal("alice", 0)
MODERATOR = Principal("mo", 0, frozenset({"user", "moderator"}), frozenset({"read", "write"}))


def test_every_principal_is_a_user_and_nobody_needs_a_token_for_what_anybody_may() -> None:
    USER.check(ALICE)
    assert (USER.needs_token, ANYBODY.needs_token) == (True, False)


@pytest.mark.parametrize(
    ("access", "detail"),
    [
        (Access(frozenset({"moderator"})), "the caller must have the role moderator"),
        (
            Access(frozenset({"operator", "moderator"})),
            "the caller must have the role moderator or operator",
        ),
        (
            Access(frozenset({"user"}), frozenset({"write", "read"})),
            "the token must have the scope read, write",
        ),
    ],
)
def test_a_role_or_a_scope_that_is_missing_is_named(access: Access, detail: str) -> None:
    with pytest.raises(Forbidden) as caught:
        access.check(ALICE)
    assert (caught.value.code, caught.value.detail) == ("forbidden", detail)
    access.check(MODERATOR)


def test_all_scopes_are_needed() -> None:
    access = Access(frozenset({"user"}), frozenset({"write", "admin"}))
    with pytest.raises(Forbidden, match=r"the token must have the scope admin\Z"):
        access.check(MODERATOR)
