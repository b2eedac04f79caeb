"""The demo's token: given, or of the development login."""

from __future__ import annotations

import base64
import json
import re

import aiohttp

from chatsvc.client.http import base_url, describe
from demo_cli.exits import Exit, Failure

_TIMEOUT = aiohttp.ClientTimeout(total=15)


class Login:
    """Gives the token that was given, or asks the server's development login.

    Args:
        url: the server.
        token: used as it is, if given.
        user: for whom the development login is asked.
    """

    def __init__(self, url: str, token: str | None, user: str | None) -> None:
        try:
            self._root = base_url(url)
        except ValueError as exc:
            raise Failure(f"--url: {exc}", Exit.USAGE) from None
        # A secret that is kept in a file often ends with a newline.
        self._token = token.strip() if token is not None else None
        if self._token is not None and not re.fullmatch(r"[\x21-\x7e]+", self._token):
            raise Failure("the token must be ASCII without spaces", Exit.USAGE)
        self.user = user or (user_of(self._token) if self._token else None)
        if self._token is None and not self.user:
            raise Failure(
                "a user is needed: give --token or CHATSVC_TOKEN, or --user with a server that "
                "has a development login",
                Exit.USAGE,
            )

    async def token(self) -> str:
        """Return the token that was given, or a fresh one of the development login.

        Raises:
            Failure: there is none.
        """
        if self._token is not None:
            return self._token
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.post(f"{self._root}/api/dev/token", json={"user": self.user}) as answer,
            ):
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise Failure(
                f"no answer from {self._root}: {describe(exc)}", Exit.UNREACHABLE
            ) from exc
        if status == 404:
            raise Failure(
                f"{self._root} has no development login: give --token or CHATSVC_TOKEN", Exit.USAGE
            )
        return _token_in(body, status)

    @property
    def source(self) -> str | None:
        """The token that was given; ``None`` where the development login is asked."""
        return self._token


def user_of(token: str) -> str | None:
    """Read the user from a JWT, without verifying it: that is the server's part."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        user = claims.get("id") or claims.get("sub")
    except (IndexError, ValueError, AttributeError):
        return None
    return user if isinstance(user, str) else None


def _token_in(body: bytes, status: int) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    token = answer.get("token")
    if status < 300 and isinstance(token, str):
        return token
    why = answer.get("detail") or f"the server answered {status}"
    raise Failure(f"no token: {why}", Exit.REFUSED)
