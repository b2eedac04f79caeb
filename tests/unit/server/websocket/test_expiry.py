"""When a client is warned that its token ends."""

from __future__ import annotations

import pytest

from chatsvc.server.websocket.expiry import (
    WARNING_FLOOR_SECONDS,
    WARNING_SECONDS,
    warning_ahead,
)

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("life", "ahead"),
    [(3600, WARNING_SECONDS), (240, 60), (239, 59.75), (120, 30), (55, 13.75), (8, 2)],
)
def test_a_share_of_the_life_and_a_minute_at_the_earliest(life: float, ahead: float) -> None:
    assert warning_ahead(NOW, NOW + life, 0.0) == ahead


@pytest.mark.parametrize("life", [0, -5, -3600])
def test_what_is_over_is_not_warned_of(life: float) -> None:
    assert warning_ahead(NOW, NOW + life, 0.0) == 0


def test_not_again_before_the_floor() -> None:
    assert warning_ahead(NOW, NOW + 6, NOW) == 6 - WARNING_FLOOR_SECONDS
    assert warning_ahead(NOW, NOW + 4, NOW) == 0, "it ends before that"
    assert warning_ahead(NOW, NOW + 3600, NOW) == WARNING_SECONDS


@pytest.mark.parametrize(("life", "login"), [(55, 1.1), (30, 5.0), (3600, 10.0), (7, 0.5)])
def test_a_client_that_renews_when_it_is_warned_does_so_once_a_life(
    life: float, login: float
) -> None:
    now, warned_at, expires_at = NOW, 0.0, NOW + life
    warnings = 0
    while now < NOW + 100 * life:
        at = expires_at - warning_ahead(now, expires_at, warned_at)
        assert at < expires_at - login or login > life / 4, "in time"
        warned_at = at
        warnings += 1
        now = at + login
        expires_at = now + life
    assert warnings <= 100 / 0.7
