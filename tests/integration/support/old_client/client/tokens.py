"""Where the client has its token from: a string, or somebody to ask for one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from tests.integration.support.old_client.client.errors import TokenUnavailable

Token = str | Callable[[], Awaitable[str] | str]


class TokenSource:
    """Asks for a token when there is none, and keeps it until it is forgotten.

    Args:
        token: the token itself, or a function that is called whenever a fresh one is
            needed and returns it, or an awaitable of it.
    """

    def __init__(self, token: Token) -> None:
        self._ask = token if callable(token) else None
        self._token = token if isinstance(token, str) else None
        self._lock = asyncio.Lock()

    @property
    def refreshable(self) -> bool:
        """Whether a fresh token can be had."""
        return self._ask is not None

    async def get(self) -> str:
        """The token at hand, or a fresh one.

        Raises:
            TokenUnavailable: the function that gives tokens raised.
        """
        async with self._lock:  # two who need one ask once
            if self._token is None:
                self._token = await self._fetch()
            return self._token

    def forget(self, token: str | None = None) -> None:
        """Do not use it any more; with ``token``: only if that is the one at hand."""
        if self._ask is not None and token in (None, self._token):
            self._token = None

    async def _fetch(self) -> str:
        assert self._ask is not None
        try:
            answer = self._ask()
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as exc:  # the function is the user's, and may raise anything
            raise TokenUnavailable(f"no token: {exc}") from exc
