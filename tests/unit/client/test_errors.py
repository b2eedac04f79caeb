from __future__ import annotations

import pytest

from chatsvc.client import ApiError, ClientError, FieldError, GaveUp, Refused, SendRefused


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", "no connection in 3 attempts (last close: 1006)"),
        ("lost (twice )", "no connection in 3 attempts (last close: 1006 lost (twice ))"),
    ],
)
def test_giving_up_says_why_and_how_the_last_connection_ended(reason: str, text: str) -> None:
    error = GaveUp(1006, reason, "no connection in 3 attempts")
    assert str(error) == text
    assert (error.code, error.reason, error.why) == (1006, reason, "no connection in 3 attempts")


def test_a_refusal_of_a_send_says_what_and_why() -> None:
    field = FieldError(pointer="/content", code="too_long", detail="d", limit=3)
    error = SendRefused("too_long", "content is too long", errors=[field], first_id="i")
    assert str(error) == "content is too long (too_long)"
    assert (error.code, error.detail) == ("too_long", "content is too long")
    assert (error.errors, error.first_id) == ((field,), "i")
    assert isinstance(error, Refused | ClientError)
    plain = SendRefused("too_long", "d")
    assert (plain.errors, plain.first_id) == ((), None)


def test_an_answer_that_is_a_refusal_has_the_status_and_the_time_to_wait() -> None:
    field = FieldError(pointer="/content")
    error = ApiError(429, "c", "d", [field], retry_after=2.5, first_id="i", is_problem=True)
    assert (error.status, error.code, error.detail) == (429, "c", "d")
    assert (error.errors, error.first_id) == ((field,), "i")
    assert (error.retry_after, error.is_problem) == (2.5, True)
    plain = ApiError(500, "c", "d")
    assert (plain.errors, plain.first_id, plain.retry_after) == ((), None, None)
    assert plain.is_problem is False


@pytest.mark.parametrize(
    ("status", "passing"),
    [(400, False), (407, False), (408, True), (409, False), (424, False), (425, True),
     (426, False), (428, False), (429, True), (430, False), (499, False), (500, True), (599, True)],
)  # fmt: skip
def test_what_may_succeed_later(status: int, passing: bool) -> None:
    assert ApiError(status, "c", "d").passing is passing


@pytest.mark.parametrize(
    ("status", "final"),
    [(200, False), (302, False), (399, False), (400, True), (401, False), (402, True),
     (408, False), (422, True), (499, True), (500, False)],
)  # fmt: skip
def test_what_the_server_itself_refused_for_good(status: int, final: bool) -> None:
    assert ApiError(status, "c", "d", is_problem=True).final is final
    assert ApiError(status, "c", "d").final is False
