from __future__ import annotations

import math
from typing import Any

import pytest

from chatsvc.client.policy import (
    MAX_RETRY_AFTER,
    STEADY_SECONDS,
    Backoff,
    Decision,
    ReconnectPolicy,
)
from tests.unit.support.vectors import cases


def policy(draw: float = 1.0, **more: object) -> ReconnectPolicy:
    return ReconnectPolicy(draw=lambda: draw, **more)  # type: ignore[arg-type]


def test_the_ceiling_doubles_from_one_to_thirty() -> None:
    ceilings = [Backoff().ceiling(failures) for failures in range(8)]
    assert ceilings == [1, 2, 4, 8, 16, 30, 30, 30]
    assert Backoff().ceiling(100_000) == 30
    assert Backoff(maximum=math.inf).ceiling(100_000) == 2.0**32


def test_full_jitter_draws_between_nothing_and_the_ceiling() -> None:
    high, low = policy(1.0), policy(0.0)
    assert [high.closed(1006).wait for _ in range(6)] == [1, 2, 4, 8, 16, 30]
    assert [low.closed(1006).wait for _ in range(6)] == [0] * 6


def test_a_steady_connection_starts_the_ceiling_over_and_a_brief_one_does_not() -> None:
    tried = policy()
    for _ in range(4):
        tried.closed(1006)
    tried.opened()
    assert tried.closed(1006, lasted=STEADY_SECONDS / 2).wait == 16
    tried.opened()
    assert tried.closed(1006, lasted=STEADY_SECONDS).wait == 1


def test_a_steady_connection_lets_the_next_remedy_be_at_once() -> None:
    tried = policy(can_refresh=True)
    assert [tried.closed(4001).wait for _ in range(3)] == [0, 1, 2]
    assert tried.closed(4001, lasted=STEADY_SECONDS).wait == 0
    assert tried.closed(4001).wait == 1


def test_attempts_in_a_row_are_counted_until_a_hello() -> None:
    tried = policy(max_attempts=3)
    tried.closed(1006)
    tried.closed(1006)
    tried.opened()
    assert tried.closed(1006, lasted=0.0).wait is not None
    assert tried.closed(1006).wait is not None
    assert tried.closed(1006).wait is not None
    last = tried.closed(1006)
    assert last.wait is None
    assert "3 attempts" in last.why


@pytest.mark.parametrize(
    "case", cases("close_codes.json"), ids=lambda case: f"{case['code']} {case['reason']}"
)
def test_the_decision_is_as_published(case: dict[str, Any]) -> None:
    code, reason, client = case["code"], case["reason"], case["client"]
    without, fresh = policy(0.5), policy(0.5, can_refresh=True)
    refused, decision = without.closed(code, reason), fresh.closed(code, reason)
    assert (decision.wait is None) == (client == "stop")
    assert (refused.wait is None) == (client in {"stop", "refresh_token"})
    assert decision.fresh_token == (client == "refresh_token")
    if decision.wait is not None:
        named = case["retry_after_ms"]
        usual = 0.0 if client == "refresh_token" and named is None else 0.5
        assert decision.wait == pytest.approx(max(usual, (named or 0) * 1.05 / 1000))


@pytest.mark.parametrize("code", [4001, 4003])
def test_a_refusal_that_may_be_a_proxys_is_no_reason_to_give_up(code: int) -> None:
    without = policy()
    assert [without.closed(code, certain=False) for _ in range(3)] == [
        Decision(1.0), Decision(2.0), Decision(4.0),
    ]  # fmt: skip
    assert without.closed(code).wait is None
    assert policy(can_refresh=True).closed(code, certain=False) == Decision(0.0, fresh_token=True)
    assert policy(max_attempts=1).closed(code, certain=False).wait is None


def test_a_remedy_that_does_not_help_backs_off() -> None:
    tried = policy(can_refresh=True)
    waits = [tried.closed(4001).wait for _ in range(4)]
    assert waits == [0, 1, 2, 4]


@pytest.mark.parametrize("code", [1012, 1013])
def test_the_server_says_when(code: int) -> None:
    assert policy(0.0).closed(code, "restart;retry_after_ms=2500").wait == 2.5
    wait = policy(1.0).closed(code, "restart;retry_after_ms=2500").wait
    assert wait == pytest.approx(2.75)


def test_a_refused_token_with_a_time_waits_that_long() -> None:
    decision = policy(0.0, can_refresh=True).closed(4003, "busy;retry_after_ms=1000")
    assert decision == Decision(1.0, fresh_token=True)


@pytest.mark.parametrize("code", [1000, 4103])
def test_a_connection_that_lasted_comes_back_after_a_jittered_wait(code: int) -> None:
    decision = policy(0.5).closed(code, lasted=60.0)
    assert decision == Decision(0.5)


def test_the_wait_is_never_less_than_the_server_asks_for_and_never_none() -> None:
    backoff = Backoff(first=1.0, maximum=30.0)
    assert backoff.wait(3, 0.5) == 4.0
    assert backoff.wait(0, 0.5, 10.0) == 10.5
    assert backoff.wait(5, 0.5, 1.0) == 15.0
    assert backoff.wait(0, 0.5, 0.0) == 0.5
    assert backoff.wait(0, 0.0, 1e12) == MAX_RETRY_AFTER


@pytest.mark.parametrize("code", [1012, 1013])
def test_a_server_that_asks_for_no_wait_is_not_stormed(code: int) -> None:
    tried = policy(0.5)
    waits = [tried.closed(code, "restart;retry_after_ms=0").wait for _ in range(4)]
    assert waits == [0.5, 1.0, 2.0, 4.0]
