"""Settings of groups: names, roles, and how they are persisted."""

from __future__ import annotations

import pytest

from chatsvc.core.errors import Invalid
from chatsvc.core.membership import Channel
from chatsvc.features.groups.settings import (
    MAX_AVATAR,
    MAX_LEADERS,
    MAX_NAME,
    GroupSettings,
    HistoryPolicy,
    JoinPolicy,
    Role,
    check_avatar,
    check_name,
    encode_settings,
    settings_of,
)

CLUB = GroupSettings(name="Club", admins=("a", "b"), moderators=("c",))


def test_a_user_has_one_role() -> None:
    assert [CLUB.role_of(user) for user in "abcd"] == ["admin", "admin", "moderator", "member"]


@pytest.mark.parametrize(
    ("user", "role", "admins", "moderators"),
    [
        ("a", Role.MODERATOR, ("b",), ("c", "a")),
        ("a", Role.MEMBER, ("b",), ("c",)),
        ("c", Role.ADMIN, ("a", "b", "c"), ()),
        ("d", Role.MODERATOR, ("a", "b"), ("c", "d")),
        ("d", Role.MEMBER, ("a", "b"), ("c",)),
        ("a", Role.ADMIN, ("b", "a"), ("c",)),
    ],
)
def test_a_role_replaces_the_one_before_and_is_the_newest(
    user: str, role: Role, admins: tuple[str, ...], moderators: tuple[str, ...]
) -> None:
    after = CLUB.with_role(user, role)
    assert (after.name, after.admins, after.moderators) == ("Club", admins, moderators)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MODERATOR])
def test_leaders_are_bounded(role: Role) -> None:
    settings = GroupSettings(name="Club")
    for at in range(MAX_LEADERS):
        settings = settings.with_role(f"u{at}", role)
    with pytest.raises(Invalid, match="at most 100"):
        settings.with_role("one more", role)
    assert settings.with_role("u5", role).role_of("u5") is role
    assert settings.with_role("u5", Role.MEMBER).with_role("one more", role)


def test_settings_are_what_was_persisted() -> None:
    settings = GroupSettings(
        name='\U0001f600"\\', history=HistoryPolicy.FROM_JOIN, join=JoinPolicy.OPEN, admins=("a",)
    )
    assert settings_of(Channel(settings=encode_settings(settings))) == settings


def test_a_row_without_settings_is_a_group_without_a_name() -> None:
    assert settings_of(Channel()) == GroupSettings()


@pytest.mark.parametrize("name", ["x", "\U0001f600" * MAX_NAME, " a ", "\u00e9", "a\u200bb"])
def test_a_name_of_characters_is_valid(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "too_short"),
        (" \t\u2028", "too_short"),
        ("x" * (MAX_NAME + 1), "too_long"),
        ("a\x00", "control_character"),
        ("a\x85b", "control_character"),
        ("a\ud800", "control_character"),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused(name: str, code: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_name(name)
    (error,) = raised.value.field_errors
    assert (error.pointer, error.code) == ("/name", code)


def test_an_avatar_may_be_empty_and_is_bounded() -> None:
    check_avatar("")
    check_avatar("x" * MAX_AVATAR)
    for avatar in ("x" * (MAX_AVATAR + 1), "a\nb"):
        with pytest.raises(Invalid):
            check_avatar(avatar)
