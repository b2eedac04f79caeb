"""The user that a token names."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A verified user. ``expires_at`` is the token's ``exp`` in Unix seconds."""

    user: str
    expires_at: int
