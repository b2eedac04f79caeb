"""An authenticator without keys."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from chatsvc.auth.principal import Principal
from chatsvc.core.errors import TokenExpired, Unauthorized


class FakeAuthenticator:
    """Asks ``principal_of`` for each token; knows none by itself unless ``knows`` is set."""

    def __init__(self, principal_of: Callable[[str], Principal], *, knows: bool = False) -> None:
        self.principal_of = principal_of
        self.knows = knows

    def known(self, token: str) -> Principal | None:
        return self.principal_of(token) if self.knows else None

    async def authenticate(self, token: str) -> Principal:
        return self.principal_of(token)


def named_by_token(token: str) -> Principal:
    """A token is ``token-of-`` and the user, percent-encoded."""
    if token == "expired":
        raise TokenExpired("the token has expired")
    user = token.removeprefix("token-of-")
    if user == token:
        raise Unauthorized("the token's signature is not good")
    return Principal(unquote(user), 4_102_444_800)
