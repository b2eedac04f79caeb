"""Tokens for the users of a run: signed here, given, or from the development login."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from chatsvc_conformance.expect import Failed, Skipped
from chatsvc_conformance.http import Api

TTL_SECONDS: Final = 3600


class User(NamedTuple):
    """A user id, and a token for it."""

    id: str
    token: str


class Users(Protocol):
    """Where the users of a check come from."""

    async def take(self, count: int) -> list[User]:
        """Users that differ from one another.

        Raises:
            Skipped: there are not so many.
        """

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with just these claims.

        Raises:
            Skipped: nothing can be signed here.
        """


class SignedUsers:
    """Fresh ids, with tokens signed by the server's HS256 secret (RFC 7515, RFC 7518 §3.2).

    Args:
        claim: the one that carries the user id.
    """

    def __init__(self, secret: bytes, *, claim: str = "id") -> None:
        self._secret = secret
        self._claim = claim

    async def take(self, count: int) -> list[User]:
        expires_at = int(time.time()) + TTL_SECONDS
        return [
            User(name, self.sign({"id": name, "exp": expires_at}))
            for name in (fresh_name() for _ in range(count))
        ]

    def sign(self, claims: Mapping[str, Any]) -> str:
        named = {self._claim if name == "id" else name: value for name, value in claims.items()}
        return sign(named, self._secret)


class GivenUsers:
    """Users whose tokens were given; the ids stay the same for the whole run."""

    def __init__(self, users: Sequence[User]) -> None:
        self._users = list(users)

    async def take(self, count: int) -> list[User]:
        if count > len(self._users):
            raise Skipped(f"needs the tokens of {count} users, has {len(self._users)}")
        return self._users[:count]

    def sign(self, claims: Mapping[str, Any]) -> str:
        raise Skipped("needs --secret, to sign a token of its own")


class DevLoginUsers:
    """Fresh ids, with tokens from ``POST /api/dev/token``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def offered(self) -> bool:
        """Whether the server gives out tokens."""
        answer = await self._api.call("POST", "/api/dev/token", json={"user": fresh_name()})
        return answer.status == 200

    async def take(self, count: int) -> list[User]:
        return [await self._login(fresh_name()) for _ in range(count)]

    async def _login(self, name: str) -> User:
        answer = await self._api.call("POST", "/api/dev/token", json={"user": name})
        token = answer.json().get("token") if answer.status == 200 else None
        if not isinstance(token, str):
            raise Failed(f"the development login must give a token: status {answer.status}")
        return User(name, token)

    def sign(self, claims: Mapping[str, Any]) -> str:
        raise Skipped("needs --secret, to sign a token of its own")


def fresh_name() -> str:
    """A user id that is not in use."""
    return f"conformance-{secrets.token_hex(8)}"


def sign(claims: Mapping[str, Any], secret: bytes, algorithm: str = "HS256") -> str:
    """A JWT in compact form (RFC 7515 §7.1); ``algorithm`` ``none`` leaves it unsigned."""
    header = _part(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    signed = f"{header}.{_part(json.dumps(claims).encode())}"
    if algorithm == "none":
        return f"{signed}."
    return f"{signed}.{_part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
