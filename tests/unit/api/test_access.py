"""Who may call, by role and scope."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.api.access import ANYBODY, USER, Access
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Forbidden

ALICE = Principal("alice", 0)
MODERATOR = Principal("mo", 0, frozenset({"user", "moderator"}), frozenset({"read", "write"}))


def test_every_principal_is_a_user_and_nobody_needs_a_token_for_what_anybody_may() -> None:
    USER.check(ALICE)
    ANYBODY.check(ALICE)
    assert (USER.needs_token, ANYBODY.needs_token) == (True, False)
    assert (USER.needs_check, ANYBODY.needs_check) == (False, False)


def test_a_scope_without_a_role_is_for_users_with_a_token() -> None:
    access = Access(scopes=frozenset({"read"}))
    assert access == Access(USER.roles, frozenset({"read"}))
    assert access.needs_token
    assert access.needs_check
    access.check(MODERATOR)
    with pytest.raises(Forbidden, match=r"the token must have the scope read\Z"):
        access.check(ALICE)


@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        (frozenset({"user", "moderator"}), frozenset()),
        ("moderator", frozenset()),
        (frozenset(), {"read"}),
        (frozenset({""}), frozenset()),
        (frozenset({"user"}), frozenset({" read"})),
        (frozenset({1}), frozenset()),
    ],
    ids=["all users or few", "a text", "a set that can change", "empty", "white space", "number"],
)
def test_what_would_not_mean_what_it_says_cannot_be_declared(roles: Any, scopes: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        Access(roles, scopes)


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
