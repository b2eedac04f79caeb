"""Check a token of a client, in bounded time."""

from __future__ import annotations

import asyncio
from typing import Final

from chatsvc.auth.principal import Authenticator, Principal
from chatsvc.core.errors import Unavailable

TOKEN_SECONDS: Final = 10.0
"""The time limit of a check that has to ask another service."""


async def check_token(authenticator: Authenticator, token: str) -> Principal:
    """Return the user of a token that is not known.

    Raises:
        Unauthorized: it is refused.
        Unavailable: it could not be checked within :data:`TOKEN_SECONDS`.
    """
    try:
        async with asyncio.timeout(TOKEN_SECONDS) as limit:
            return await authenticator.authenticate(token)
    except TimeoutError:
        if not limit.expired():
            raise
        detail = f"the token could not be checked within {TOKEN_SECONDS:g} seconds"
        raise Unavailable(detail) from None
