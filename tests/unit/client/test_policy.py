from __future__ import annotations

import math

import pytest

from chatsvc.client.policy import (
    MAX_RETRY_AFTER,
    STEADY_SECONDS,
    Backoff,
    Decision,
    ReconnectPolicy,
)


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


@pytest.mark.parametrize("code", [4200, 4201, 4299])
def test_never_means_never(code: int) -> None:
    assert policy(can_refresh=True).closed(code).wait is None


@pytest.mark.parametrize("code", [4001, 4002, 4003, 4050])
def test_a_remedy_needs_a_token_that_can_be_had(code: int) -> None:
    assert policy().closed(code).wait is None
    assert policy(can_refresh=True).closed(code) == Decision(0.0, fresh_token=True)


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


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 3000, 4100, 4103, 4199, 4999])
def test_all_others_come_back_after_a_jittered_wait(code: int) -> None:
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
