"""The range of a close code says what to do, for unknown ones too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.wire.close_codes import (
    OVERLOAD,
    RESTART,
    Advice,
    CloseAdvice,
    advise,
    reason_with_retry,
)


@pytest.mark.parametrize(
    ("codes", "advice"),
    [
        (range(4000, 4100), Advice.REMEDY),
        (range(4100, 4200), Advice.RESUME),
        ((RESTART, OVERLOAD), Advice.RESUME),
        (range(4200, 4300), Advice.NEVER),
        ((1000, 1001, 1002, 1006, 1009, 1011, 3999, 4300, 4999), Advice.BACKOFF),
    ],
)
def test_the_range_decides(codes: range | tuple[int, ...], advice: Advice) -> None:
    assert {advise(code).advice for code in codes} == {advice}


@given(st.integers(0, 999_999_999))
def test_the_reason_says_when(ms: int) -> None:
    assert advise(RESTART, reason_with_retry("restart", ms)) == CloseAdvice(
        Advice.RESUME, ms / 1000
    )


@pytest.mark.parametrize("code", [1001, 4001, 4100, OVERLOAD])
def test_whatever_the_code_the_named_wait_holds(code: int) -> None:
    assert advise(code, "x;retry_after_ms=1500").retry_after == 1.5


@pytest.mark.parametrize(
    "reason",
    ["", "restart", ";retry_after_ms=", "restart;retry_after_ms=-5", "x;retry_after_ms=5;more",
     "x;retry_after_ms=" + "9" * 10, "x;retry_after_ms=1.5"],
)  # fmt: skip
def test_a_reason_that_names_no_time(reason: str) -> None:
    assert advise(OVERLOAD, reason).retry_after is None


def test_never_has_no_when() -> None:
    assert advise(4201, "banned;retry_after_ms=5").retry_after is None
