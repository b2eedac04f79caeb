"""Tokens, good and bad, and a verifier whose clock is moved by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from chatsvc.auth.keys import Key
from chatsvc.auth.tokens import TokenVerifier
from chatsvc.core.errors import TokenExpired, Unauthorized

NOW = 1_800_000_000
SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
GOOD: dict[str, Any] = {"id": "alice", "exp": NOW + 3600}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def verifier(*keys: Key, **settings: Any) -> TokenVerifier:
    settings.setdefault("clock", Clock())
    return TokenVerifier(keys or (Key("HS256", SECRET),), **settings)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    payload: bytes | str, header: bytes | str = '{"alg":"HS256"}', key: bytes = SECRET
) -> str:
    """A token of any bytes at all, with a signature that holds."""
    parts = [b64(part if isinstance(part, bytes) else part.encode()) for part in (header, payload)]
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, b64(signature)])


def token(**claims: Any) -> str:
    """The good claims, changed; a claim of ``None`` is left out."""
    merged = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return signed(json.dumps(merged))


def refusal(text: str, **settings: Any) -> str:
    with pytest.raises(Unauthorized) as caught:
        verifier(**settings).verify(text)
    assert not isinstance(caught.value, TokenExpired)
    assert caught.value.code == "token_invalid"
    return caught.value.detail
