"""What a socket may cost over time."""

from __future__ import annotations

import pytest

from chatsvc.server.websocket.budget import (
    AUTH_UNITS,
    BURST,
    RATE,
    TURN_UNITS,
    UNIT_BYTES,
    spend,
    units_of,
)


def test_a_burst_at_once_and_not_one_more() -> None:
    until: float | None = 0.0
    for _ in range(BURST):
        assert until is not None
        until = spend(until, 1, now=50.0)
    assert until is not None
    assert spend(until, 1, now=50.0) is None
    assert spend(0.0, BURST, now=50.0) is not None
    assert spend(0.0, BURST + 1, now=50.0) is None


def test_the_rate_for_ever() -> None:
    until: float | None = 0.0
    for step in range(10 * BURST):
        assert until is not None
        until = spend(until, 1, now=50.0 + step / RATE)
    assert until is not None


def test_above_the_rate_the_burst_is_used_up_in_the_end() -> None:
    until: float | None = 0.0
    count = 0
    while until is not None:
        until = spend(until, 1, now=50.0 + count / (2 * RATE))
        count += 1
    assert abs(count - 2 * BURST) <= 2


def test_a_pause_pays_off_what_was_spent_and_no_more() -> None:
    until = spend(0.0, BURST, now=50.0)
    assert until is not None
    assert spend(until, BURST, now=until - 0.5) is None
    again = spend(until, BURST, now=until + 1000)
    assert again is not None
    assert spend(again, BURST // 2, now=until + 1000) is None


def test_a_frame_costs_by_its_size() -> None:
    assert [units_of(b"x" * size) for size in (0, UNIT_BYTES - 1, UNIT_BYTES, 262_144)] == [
        1, 1, 2, 65,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "units", "seconds"),
    [
        ("a client that pings twice a second, for an hour", 2, 3600),
        ("ten refusals a second, for an hour", 10, 3600),
        ("a fresh token a second, for an hour", AUTH_UNITS, 3600),
    ],
)
def test_what_an_honest_client_does_is_within_it(what: str, units: int, seconds: int) -> None:
    until: float | None = 0.0
    for second in range(seconds):
        assert until is not None, what
        until = spend(until, units, now=float(second))


def test_full_windows_that_are_all_refused_are_within_it() -> None:
    """The log is at its bound, and the client tries again as it was told to, each second."""
    window, until = 64, 0.0
    for second in range(10):
        for _ in range(window):
            spent = spend(until, 1, now=float(second))
            assert spent is not None
            until = spent
    assert window <= TURN_UNITS
