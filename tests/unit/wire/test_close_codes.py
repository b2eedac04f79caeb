"""The range of a close code says what to do, for unknown ones too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.wire import close_codes
from chatsvc.wire.close_codes import RESTART, Advice, CloseAdvice, advise, reason_with_retry
from tests.unit.support.vectors import cases

VECTORS = cases("close_codes.json")
ADVICE = {
    "backoff": Advice.BACKOFF,
    "resume": Advice.RESUME,
    "refresh_token": Advice.REMEDY,
    "stop": Advice.NEVER,
}


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['code']} {case['reason']}")
def test_the_advice_is_as_published(case: dict[str, Any]) -> None:
    found = advise(case["code"], case["reason"])
    assert found.advice is ADVICE[case["client"]]
    wanted = case["retry_after_ms"]
    assert found.retry_after == (None if wanted is None else wanted / 1000)


def test_every_code_is_published_by_its_name() -> None:
    known = {
        name.lower(): value
        for name, value in vars(close_codes).items()
        if name.isupper() and type(value) is int
    }
    published = {case["name"]: case["code"] for case in VECTORS if case["name"]}
    assert published == known | {"abnormal": 1006}  # never in a close frame


@pytest.mark.parametrize(
    ("codes", "advice"),
    [
        (range(4000, 4100), Advice.REMEDY),
        (range(4100, 4200), Advice.RESUME),
        (range(4200, 4300), Advice.NEVER),
    ],
)
def test_the_range_decides(codes: range, advice: Advice) -> None:
    assert {advise(code).advice for code in codes} == {advice}


@given(st.integers(0, 999_999_999))
def test_the_reason_says_when(ms: int) -> None:
    assert advise(RESTART, reason_with_retry("restart", ms)) == CloseAdvice(
        Advice.RESUME, ms / 1000
    )
