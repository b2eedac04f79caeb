"""The kinds of fields: schema and check agree."""

from __future__ import annotations

import re

import pytest

from chatsvc.api import fields
from chatsvc.core.errors import FieldError, Invalid
from chatsvc.core.ids import format_id
from chatsvc.core.limits import Limits

LIMITS = Limits(page=23, user_id_characters=3, content_characters=13)


def refused(call: object, *arguments: object) -> FieldError:
    assert callable(call)
    with pytest.raises(Invalid) as caught:
        call(*arguments)
    [error] = caught.value.field_errors
    return error


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (0, FieldError("/limit", "too_small", "limit must be at least 1", 1)),
        (24, FieldError("/limit", "too_large", "limit must be at most 23", 23)),
    ],
)
def test_a_page_s_limit(limit: int, error: FieldError) -> None:
    assert refused(fields.check_page_limit, limit, LIMITS) == error
    schema = fields.page_limit(LIMITS)
    for good in (schema["minimum"], schema["maximum"]):
        fields.check_page_limit(good, LIMITS)


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 17, "019AA7C3F2100000", "g" * 16])
def test_a_message_id(text: str) -> None:
    error = refused(fields.read_message_id, text, "/before")
    assert (error.pointer, error.code, error.limit) == ("/before", "bad_id", 16)
    assert not re.search(fields.MESSAGE_ID["pattern"], text)


def test_a_good_message_id_is_its_number() -> None:
    assert fields.read_message_id(format_id(77), "/id") == 77
    assert re.search(fields.MESSAGE_ID["pattern"], format_id(77))


@pytest.mark.parametrize(
    ("users", "pointer", "code", "limit"),
    [
        ([], "/users", "too_few", 1),
        (["a", "b", "c"], "/users", "too_many", 2),
        (["a", ""], "/users/1", "too_short", 1),
        (["abcd"], "/users/0", "too_long", 3),
        (["a,b"], "/users/0", "comma", None),
    ],
)
def test_a_list_of_users(users: list[str], pointer: str, code: str, limit: int | None) -> None:
    error = refused(fields.check_user_ids, users, "users", 2, LIMITS)
    assert (error.pointer, error.code, error.limit) == (pointer, code, limit)
    fields.check_user_ids(["a", "abc"], "users", 2, LIMITS)


def test_the_bounds_are_the_limits() -> None:
    assert fields.user_id(LIMITS)["maxLength"] == 3
    assert fields.content(LIMITS)["maxLength"] == 13
