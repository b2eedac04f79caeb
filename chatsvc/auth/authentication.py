"""Build the token verifier and the development login from the settings."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chatsvc.auth.keys import Key, load_keys
from chatsvc.auth.minting import DEV_SECRET_NAME, dev_secret, mint, read_dev_secret
from chatsvc.auth.tokens import TokenVerifier
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import Settings

DEV_TOKEN_SECONDS: Final = 24 * 3600
"""How long a token of the development login is valid."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The token verifier, and the function behind the development login.

    ``mint_dev`` makes a token for any user id and returns it with its expiry in Unix
    seconds; it is ``None`` where DEV_LOGIN is off.
    """

    verifier: TokenVerifier
    mint_dev: Callable[[str], tuple[str, int]] | None


def authentication(settings: Settings, *, clock: Callable[[], float] = time.time) -> Authentication:
    """Read the keys, and set up the development login where it is on.

    Raises:
        ConfigurationError: there is no key, a key cannot be used, or other machines can
            reach a development login that is meant for this machine.
    """
    keys = check_authentication(settings)
    mint_dev: Callable[[str], tuple[str, int]] | None = None
    if settings.dev_login != "off":
        secret = dev_secret(settings.data_path)
        keys = (*keys, Key("HS256", secret))

        def mint_dev(user: str) -> tuple[str, int]:
            now = int(clock())
            token = mint(
                secret,
                user,
                DEV_TOKEN_SECONDS,
                claim=settings.jwt_user_claim,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                clock=lambda: now,
            )
            return token, now + DEV_TOKEN_SECONDS

    verifier = TokenVerifier(
        keys,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        leeway=settings.jwt_leeway_seconds,
        user_claim=settings.jwt_user_claim,
        cache_seconds=settings.token_cache_seconds,
        cache_size=settings.token_cache_size,
        max_user_id=settings.max_user_id,
        clock=clock,
    )
    return Authentication(verifier, mint_dev)


def check_authentication(settings: Settings) -> tuple[Key, ...]:
    """Return the configured keys after the checks of :func:`authentication`; create no file.

    Raises:
        ConfigurationError: as :func:`authentication`.
    """
    keys = load_keys(settings)
    if settings.dev_login != "off":
        _check_reach(settings)
        secret = settings.data_path / DEV_SECRET_NAME
        if os.path.lexists(secret):
            read_dev_secret(secret)
        return keys
    if not keys:
        raise ConfigurationError(
            "JWT_SECRET: no key to verify tokens with: JWT_SECRET (the HS256 secret that your "
            "login signs with, at least 32 bytes) or JWT_PUBLIC_KEY (a PEM) must be set; to only "
            "try it out, run: chatsvc dev"
        )
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_reach(settings: Settings) -> None:
    if settings.dev_login == "loopback" and not is_loopback(settings.host):
        raise ConfigurationError(
            f"DEV_LOGIN: must not be loopback while other machines can reach HOST "
            f"({settings.host!r}): they would get a token for any user; set HOST to 127.0.0.1, "
            "or DEV_LOGIN to off"
        )
