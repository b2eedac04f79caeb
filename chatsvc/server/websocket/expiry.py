"""When a client is warned that its token ends."""

from __future__ import annotations

import math
from typing import Final

WARNING_SECONDS: Final = 60.0
"""Before its end a token is warned of at the earliest."""
WARNING_SHARE: Final = 0.25
"""Of what a token had left when it came: one that lives a minute is not warned of at once,
or a client would fetch the next as soon as it has one."""
WARNING_FLOOR_SECONDS: Final = 5.0
"""Between two warnings: a login that gives out the same token again, or tokens that live for
seconds, must not make a client ask for ever."""


def next_warning(now: float, expires_at: float, warned_at: float) -> float:
    """When to warn of a token that came now; infinity for not at all. Unix seconds.

    Args:
        warned_at: when the client was last warned, of whatever token.
    """
    ahead = min(WARNING_SECONDS, (expires_at - now) * WARNING_SHARE)
    at = max(expires_at - ahead, warned_at + WARNING_FLOOR_SECONDS)
    return at if at < expires_at else math.inf
