"""The client's token: a string, or a function that is asked for one."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from chatsvc.client.errors import TokenUnavailable

Token = str | Callable[[], Awaitable[str] | str]

REFRESH_SECONDS: Final = 5.0
"""The least time between two refreshes: whoever gives tokens is not asked more often, even
if every one of them is refused at once."""
FETCH_SECONDS: Final = 30.0
"""How long a function for tokens may take."""
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")


class TokenSource:
    """Asks for a token when there is none, and keeps it until it is refused.

    The first refresh is at once, the next ones are :data:`REFRESH_SECONDS` apart.

    Args:
        token: the token itself, or a function that is called whenever a fresh one is
            needed and returns it, or an awaitable of it.
        clock: seconds, monotonic.

    Raises:
        ValueError: the token has characters that no header may hold.
    """

    def __init__(self, token: Token, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = token if callable(token) else None
        self._token = _checked(token) if isinstance(token, str) else None
        self._clock = clock
        self._lock = asyncio.Lock()
        self._fetched = 0
        self._fetched_at = 0.0

    @property
    def refreshable(self) -> bool:
        """Whether a fresh token can be had."""
        return self._ask is not None

    async def get(self) -> str:
        """Return the token at hand, or a fresh one.

        Raises:
            TokenUnavailable: the function for tokens raised, returned no token, or took
                longer than :data:`FETCH_SECONDS`.
        """
        async with self._lock:  # two who need one ask once
            if self._token is None:
                await self._pause()
                self._token = await self._fetch()
            return self._token

    def forget(self, token: str | None = None) -> None:
        """Do not use the token any more; with ``token``, only if that is the one at hand."""
        if self._ask is not None and token in (None, self._token):
            self._token = None

    async def _pause(self) -> None:
        if self._fetched > 1:
            wait = self._fetched_at + REFRESH_SECONDS - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)

    async def _fetch(self) -> str:
        assert self._ask is not None
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                answer = self._ask()
                token = await answer if inspect.isawaitable(answer) else answer
            token = _checked(token)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise TokenUnavailable("no token: the function for tokens was cancelled") from exc
        except Exception as exc:  # the function is the user's, and may raise anything
            raise TokenUnavailable(f"no token: {str(exc) or type(exc).__name__}") from exc
        self._fetched += 1
        self._fetched_at = self._clock()
        return token


def _checked(token: object) -> str:
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str, not {type(token).__name__}")
    if not _TOKEN.match(token):
        raise ValueError("a token must be printable ASCII without white space, and not empty")
    return token
