"""``chatsvc token``: a token for a user, signed with the secret that the service has."""

from __future__ import annotations

import argparse
import re
from typing import Final

from chatsvc.auth.keys import load_secrets
from chatsvc.auth.minting import DEV_SECRET_NAME, dev_secret, mint
from chatsvc.cli.options import say, settings_from, warn_of_near_misses
from chatsvc.core.errors import ConfigurationError
from chatsvc.core.participants import user_id_error
from chatsvc.settings import Settings

MAX_TTL_SECONDS: Final = 10 * 365 * 86_400

_TTL: Final = re.compile(r"([0-9]{1,10})([smhd]?)\Z")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def token(arguments: argparse.Namespace) -> int:
    """Print it, and nothing else."""
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    error = user_id_error(arguments.user, settings.max_user_id)
    if error is not None:
        raise ConfigurationError(f"USER: {error[1]}")
    say(
        mint(
            _secret(settings),
            arguments.user,
            parse_ttl(arguments.ttl),
            claim=settings.jwt_user_claim,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    )
    return 0


def parse_ttl(text: str) -> int:
    """Seconds, from ``90``, ``90s``, ``15m``, ``1h`` or ``30d``.

    Raises:
        ConfigurationError: none of these, or not from 1 second to 10 years.
    """
    match = _TTL.match(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_TTL_SECONDS:
        raise ConfigurationError(
            f"--ttl: {text!r} is not a time from 1s to 3650d, such as 90, 15m, 1h or 30d"
        )
    return seconds


def _secret(settings: Settings) -> bytes:
    """The first of JWT_SECRET; otherwise the development login's, if it has one."""
    secrets = load_secrets(settings)
    if secrets:
        return secrets[0]
    if settings.dev_login == "off" and (settings.jwt_public_key or settings.jwt_public_key_file):
        raise ConfigurationError(
            "JWT_PUBLIC_KEY verifies tokens and cannot make them: sign one with its private key"
        )
    if settings.dev_login != "off" or (settings.data_path / DEV_SECRET_NAME).exists():
        return dev_secret(settings.data_path)
    raise ConfigurationError(
        f"no secret to sign with: set JWT_SECRET as the service has it, or name the folder of a "
        f"`chatsvc dev` with --data-dir (there is no {DEV_SECRET_NAME} in {settings.data_path})"
    )
