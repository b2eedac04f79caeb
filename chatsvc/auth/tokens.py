"""Verify JSON Web Tokens (RFC 7519); the result is a :class:`Principal`.

Verified tokens are cached by their digest: a repeated token costs one SHA-256 and one
dictionary lookup. Refused tokens are not cached: an attacker could otherwise evict valid
ones.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import jwt
import msgspec

from chatsvc.auth.keys import Key
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import TokenExpired, Unauthorized
from chatsvc.core.participants import MAX_USER_ID, user_id_error

MAX_TOKEN_BYTES: Final = 8192
MAX_CACHE_SECONDS: Final = 60.0
MAX_TIME: Final = 253_402_300_799
"""The last second of the year 9999: a time beyond it is a mistake, such as milliseconds."""

_MAX_EVICTED_PER_CALL: Final = 1000

_MAX_QUOTED: Final = 40
"""The maximum number of characters of a token's own text that an error repeats."""


class _CacheEntry(NamedTuple):
    principal: Principal
    since: float

    def is_valid(self, now: float, seconds: float) -> bool:
        """Return whether it may be used: for ``seconds``, and not beyond its ``exp``.

        Nor before ``since``: a clock that was set back must not prolong the entry.
        """
        since = self.since
        return since <= now < since + seconds and now < self.principal.expires_at


class TokenVerifier:
    """Verifies tokens with pinned keys.

    Args:
        keys: those with the algorithm that the token names are tried; none: every token is refused.
        audience: accepted values of ``aud``; empty: ``aud`` is not checked.
        issuer: accepted values of ``iss``; empty: ``iss`` is not checked.
        leeway: seconds by which clocks may differ, for ``exp``, ``nbf`` and ``iat``.
        user_claim: the claim that is the user id; empty: ``id``, or ``sub`` where there
            is no ``id``, and both only if they are equal.
        cache_seconds: how long a verified token is cached, at most 60, never past
            its ``exp``.
        cache_size: the maximum number of cached tokens; the oldest are evicted first.
        max_user_id: the maximum length of a user id, in characters.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        keys: Iterable[Key],
        *,
        audience: Sequence[str] = (),
        issuer: Sequence[str] = (),
        leeway: float = 10.0,
        user_claim: str = "",
        cache_seconds: float = MAX_CACHE_SECONDS,
        cache_size: int = 50_000,
        max_user_id: int = MAX_USER_ID,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys: dict[str, list[Key]] = {}
        for key in keys:
            self._keys.setdefault(key.algorithm, []).append(key)
        self._audience = frozenset(audience)
        self._issuer = frozenset(issuer)
        self._leeway = leeway
        self._user_claim = user_claim
        self._cache_seconds = min(cache_seconds, MAX_CACHE_SECONDS)
        self._cache_size = cache_size
        self._max_user_id = max_user_id
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=list(self._keys))
        self._cache: OrderedDict[bytes, _CacheEntry] = OrderedDict()

    @property
    def cached(self) -> int:
        """The number of cached tokens."""
        return len(self._cache)

    def known(self, token: str) -> Principal | None:
        """Return the user of a token that was verified lately, otherwise ``None``."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return None
        return self._cached(sha256(token.encode()).digest())

    async def authenticate(self, token: str) -> Principal:
        """Return what :meth:`verify` does, which asks nobody: the keys are here."""
        return self.verify(token)

    def verify(self, token: str) -> Principal:
        """Return the user that this token names.

        Raises:
            TokenExpired: its ``exp`` has passed.
            Unauthorized: it is refused for another reason; the detail names the claim or part.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthorized(f"the token must have at most {MAX_TOKEN_BYTES} bytes")
        if not token.isascii():
            raise Unauthorized("the token must be a JWT: it is not ASCII")
        digest = sha256(token.encode()).digest()
        found = self._cached(digest)
        if found is not None:
            return found
        now = self._clock()
        principal = self._principal(self._claims(token), now)
        self._cache_principal(digest, principal, now)
        return principal

    def _cached(self, digest: bytes) -> Principal | None:
        found = self._cache.get(digest)
        if found is None:
            return None
        if found.is_valid(self._clock(), self._cache_seconds):
            return found.principal
        del self._cache[digest]
        return None

    def _cache_principal(self, digest: bytes, principal: Principal, now: float) -> None:
        if not self._cache_seconds:
            return
        if principal.expires_at <= now:  # valid by the leeway alone
            return
        self._evict_expired(now)
        if len(self._cache) >= self._cache_size:
            self._cache.popitem(last=False)
        self._cache[digest] = _CacheEntry(principal, now)

    def _evict_expired(self, now: float) -> None:
        """Drop expired entries from the front, where the oldest are.

        At most :data:`_MAX_EVICTED_PER_CALL`, so that no request waits for all of them.
        """
        for _ in range(_MAX_EVICTED_PER_CALL):
            first = next(iter(self._cache.values()), None)
            if first is None or first.is_valid(now, self._cache_seconds):
                return
            self._cache.popitem(last=False)

    def _claims(self, token: str) -> dict[str, Any]:
        """Return the payload once a key has verified it."""
        keys = self._candidates(token)
        payload: bytes | None = None
        for key in keys:
            try:
                payload = self._jws.decode_complete(
                    token, key.material, algorithms=[key.algorithm]
                )["payload"]
                break
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, RecursionError):
                raise Unauthorized("the token must be a JWT: it cannot be decoded") from None
        if payload is None:
            raise Unauthorized("the token's signature does not match any configured key")
        try:
            claims = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Unauthorized("the token's payload must be JSON") from None
        if not isinstance(claims, dict):
            raise Unauthorized("the token's payload must be a JSON object")
        return claims

    def _candidates(self, token: str) -> list[Key]:
        """Return the keys of the algorithm that the token names."""
        header = _header(token)
        if "crit" in header:
            raise Unauthorized("the token's header must not have crit: no extension is supported")
        algorithm = header.get("alg")
        keys = self._keys.get(algorithm) if isinstance(algorithm, str) else None
        if keys is None:
            accepted = " or ".join(sorted(self._keys)) or "that of a key (none is configured)"
            raise Unauthorized(f"the token's alg must be {accepted}, not {_quoted(algorithm)}")
        return keys

    def _principal(self, claims: dict[str, Any], now: float) -> Principal:
        expires = _time(claims, "exp")
        if expires is None:
            raise Unauthorized("the token must have an exp claim")
        if now >= expires + self._leeway:
            raise TokenExpired(
                f"the token has expired: exp passed {int(now - expires)} seconds ago"
            )
        for name in ("nbf", "iat"):
            since = _time(claims, name)
            if since is not None and since > now + self._leeway:
                raise Unauthorized(
                    f"the token's {name} must not be in the future: it is {int(since - now)} "
                    "seconds ahead"
                )
        self._check_audience(claims)
        self._check_issuer(claims)
        return Principal(self._user(claims), int(expires))

    def _check_audience(self, claims: dict[str, Any]) -> None:
        if not self._audience:
            return
        value = claims.get("aud")
        if value is None:
            raise Unauthorized("the token must have an aud claim")
        values = value if isinstance(value, list) else [value]
        if not any(isinstance(one, str) and one in self._audience for one in values):
            raise Unauthorized("the token's aud must name this service")

    def _check_issuer(self, claims: dict[str, Any]) -> None:
        if not self._issuer:
            return
        value = claims.get("iss")
        if value is None:
            raise Unauthorized("the token must have an iss claim")
        if not isinstance(value, str) or value not in self._issuer:
            raise Unauthorized("the token's iss must be one of the accepted issuers")

    def _user(self, claims: dict[str, Any]) -> str:
        if self._user_claim:
            name = self._user_claim
        else:
            name = "id" if "id" in claims else "sub"
            if "id" in claims and "sub" in claims and claims["id"] != claims["sub"]:
                raise Unauthorized(
                    "the token's id and sub must be equal, unless JWT_USER_CLAIM says which of "
                    "them is the user id"
                )
        if name not in claims:
            wanted = name if self._user_claim else "id or sub"
            raise Unauthorized(f"the token must have the claim {wanted}, which is the user id")
        user = claims[name]
        if not isinstance(user, str):
            raise Unauthorized(f"the token's {name} must be a string")
        error = user_id_error(user, self._max_user_id)
        if error is not None:
            raise Unauthorized(f"the token's {name} must be a user id: {error[1]}")
        return user


def _header(token: str) -> dict[str, Any]:
    """Decode the token's header, to choose a key.

    PyJWT decodes it again, strictly and with the algorithm pinned, when it verifies; its own
    function for reading a header decodes all three parts twice.
    """
    try:
        part, _, _ = token.split(".")
        header = msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise Unauthorized("the token must be a JWT: three parts of base64url, joined by dots")
    return header


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519 §2: seconds, perhaps with a fraction), or ``None``."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthorized(f"the token's {name} must be a number of seconds")
    if not 0 <= value <= MAX_TIME:
        raise Unauthorized(
            f"the token's {name} must be a time in seconds since 1970, up to the year 9999"
        )
    return value


def _quoted(value: object) -> str:
    return repr(value)[:_MAX_QUOTED]
