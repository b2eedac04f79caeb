"""Times in tokens: seconds since 1970 (RFC 7519 §2), the first and the last included."""

from __future__ import annotations

import jwt
import pytest

from chatsvc.auth.keys import Key
from chatsvc.auth.tokens import MAX_TIME, TokenVerifier
from chatsvc.core.errors import TokenExpired, Unauthorized

NOW = 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"


def verify(**claims: float) -> int:
    """When the token ends."""
    verifier = TokenVerifier((Key("HS256", SECRET),), clock=lambda: NOW)
    token = jwt.encode({"id": "alice", "exp": NOW + 60, **claims}, SECRET, "HS256")
    return verifier.verify(token).expires_at


@pytest.mark.parametrize("first", [0, 1, 0.5])
def test_the_first_second_is_a_time(first: float) -> None:
    assert verify(iat=first) == verify(nbf=first) == NOW + 60
    with pytest.raises(TokenExpired):
        verify(exp=first)


def test_the_last_second_is_a_time() -> None:
    assert verify(exp=MAX_TIME) == MAX_TIME


@pytest.mark.parametrize("value", [-1, -0.5, MAX_TIME + 1, MAX_TIME + 0.5])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_others_are_none(name: str, value: float) -> None:
    with pytest.raises(Unauthorized, match=f"the token's {name} must be a time") as caught:
        verify(**{name: value})
    assert caught.value.code == "token_invalid"
