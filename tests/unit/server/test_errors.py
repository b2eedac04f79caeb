"""From exceptions to problem documents."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatsvc.core import errors
from chatsvc.server.errors import failure, invalid_from_msgspec, status_of


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (errors.Malformed("x"), 400),
        (errors.Unauthorized("x"), 401),
        (errors.TokenExpired("x"), 401),
        (errors.Forbidden("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.TooLarge("x"), 413),
        (errors.UnsupportedMedia("x"), 415),
        (errors.Invalid("x"), 422),
        (errors.TooManyRequests("x", retry_after=3), 429),
        (errors.Unavailable("x"), 503),
        (errors.LogUnavailable("x"), 503),
        (errors.StoreUnavailable("x"), 503),
        (errors.LogDamaged("x"), 500),
        (ValueError("x"), 500),
    ],
)
def test_statuses(exc: Exception, status: int) -> None:
    assert status_of(exc) == status
    told = failure(exc, "r1")
    problem = msgspec.json.decode(told.body)
    assert told.status == problem["status"] == status
    assert problem["request_id"] == "r1"


def test_no_member_of_a_problem_is_overwritten() -> None:
    exc = errors.Conflict("x", extra={"id": "1", "status": "200"})
    problem = msgspec.json.decode(failure(exc, "r").body)
    assert (problem["id"], problem["status"]) == ("1", 409)


def test_retry_after_is_whole_seconds_and_at_least_one() -> None:
    for given, shown in ((0.01, "1"), (1.0, "1"), (1.2, "2"), (30, "30")):
        exc = errors.TooManyRequests("x", retry_after=given)
        assert failure(exc, "r").headers == {"Retry-After": shown}
        assert failure(errors.Unavailable("x", retry_after=given), "r").headers == {
            "Retry-After": shown
        }


def test_a_challenge_is_one_line_of_ascii() -> None:
    exc = errors.Unauthorized('the claim "id" is\r\nSet-Cookie: ü\\')
    value = failure(exc, "r").headers["WWW-Authenticate"]
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 6


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    value: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rows: list[Inner] = []
    table: dict[str, int] = {}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"{}", "/name", "missing"),
        (b"[]", "", "wrong_type"),
        (b'{"name":1}', "/name", "wrong_type"),
        (b'{"name":"a","rows":[{"value":1},{"value":"x"}]}', "/rows/1/value", "wrong_type"),
        (b'{"name":"a","rows":[{"x":1}]}', "/rows/0/x", "unknown_field"),
        (b'{"name":"a","table":{"k":"x"}}', "/table", "wrong_type"),
        (b'{"name":"a","a`b - at `$.c`":1}', "/a`b - at `$.c`", "unknown_field"),
    ],
)
def test_what_msgspec_says(body: bytes, pointer: str, code: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Outer)
    told: Any = invalid_from_msgspec(caught.value)
    assert (told.field_errors[0].pointer, told.code) == (pointer, code)


def test_a_problem_lists_a_bounded_number_of_faults() -> None:
    field_errors = tuple(
        errors.FieldError(f"/{n}", "unknown_field", "there is none") for n in range(5000)
    )
    told = failure(errors.Invalid("too much is wrong", field_errors=field_errors), "r")
    assert len(msgspec.json.decode(told.body)["errors"]) == 32
