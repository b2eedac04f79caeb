"""The request and the response of ``/api/dev/token``, as structs."""

from __future__ import annotations

import msgspec


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The user to make a token for."""

    user: str


class Token(msgspec.Struct, kw_only=True):
    """A token that this service accepts. ``expires_at`` in Unix seconds."""

    token: str
    user: str
    expires_at: int
