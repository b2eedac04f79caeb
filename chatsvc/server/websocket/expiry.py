"""When a client is warned that its token ends."""

from __future__ import annotations

from typing import Final

WARNING_SECONDS: Final = 60.0
"""Before its end a token is warned of at the earliest."""
WARNING_SHARE: Final = 0.25
"""Of what a token had left when it came: one that lives a minute is not warned of at once,
or a client would fetch the next as soon as it has one."""
WARNING_FLOOR_SECONDS: Final = 5.0
"""Between two warnings: a login that gives out the same token again, or tokens that live for
seconds, must not make a client ask for ever."""


def warning_ahead(now: float, expires_at: float, warned_at: float) -> float:
    """How many seconds before its end to warn of a token that came now; 0 for not at all.

    Args:
        now: Unix seconds, as all of them.
        warned_at: when the client was last warned, of whatever token.
    """
    ahead = min(WARNING_SECONDS, (expires_at - now) * WARNING_SHARE)
    if expires_at - ahead < warned_at + WARNING_FLOOR_SECONDS:
        ahead = expires_at - warned_at - WARNING_FLOOR_SECONDS
    return ahead if ahead > 0 else 0.0
