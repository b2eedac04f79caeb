"""Decide when a client is warned that its token is about to expire."""

from __future__ import annotations

from typing import Final

WARNING_SECONDS: Final = 60.0
"""The longest time between the warning and the expiry."""
WARNING_SHARE: Final = 0.25
"""The warning's share of a token's remaining lifetime when it was received. A token that is
valid for a minute does not cause a warning immediately, or the client would request a new one
as soon as it has one."""
WARNING_FLOOR_SECONDS: Final = 5.0
"""The shortest time between two warnings: a login that returns the same token again, or tokens
that are valid for seconds, must not make a client request tokens without end."""


def warning_ahead(now: float, expires_at: float, warned_at: float) -> float:
    """Return how many seconds before its expiry a token received now is warned of.

    Args:
        now: the current time, in Unix seconds like the others.
        expires_at: the expiry of the token.
        warned_at: the time of the client's last warning, for any token; 0.0 for none.

    Returns:
        Seconds before ``expires_at``; 0 for no warning.
    """
    ahead = min(WARNING_SECONDS, (expires_at - now) * WARNING_SHARE)
    if expires_at - ahead < warned_at + WARNING_FLOOR_SECONDS:
        ahead = expires_at - warned_at - WARNING_FLOOR_SECONDS
    return ahead if ahead > 0 else 0.0
