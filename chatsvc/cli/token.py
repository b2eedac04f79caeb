"""``chatsvc token``: print a token for a user, signed with the secret of the service."""

from __future__ import annotations

import argparse
import re
from typing import Final

from chatsvc.arguments import OneLineParser
from chatsvc.auth.keys import load_secrets
from chatsvc.auth.minting import DEV_SECRET_NAME, dev_secret, mint
from chatsvc.cli.options import add_data, print_line, settings_from, warn_of_near_misses
from chatsvc.core.errors import ConfigurationError
from chatsvc.core.participants import user_id_error
from chatsvc.settings.table import Settings

MAX_TTL_SECONDS: Final = 10 * 365 * 86_400
"""The maximum of ``--ttl``."""

_TTL: Final = re.compile(r"([0-9]{1,10})([smhd]?)\Z")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    parser.add_argument("user", metavar="USER")
    parser.add_argument("--ttl", default="1h", metavar="TIME", help="90, 15m, 1h (default), 30d")
    parser.set_defaults(run=token)


def token(arguments: argparse.Namespace) -> int:
    """Print the token and nothing else."""
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    error = user_id_error(arguments.user, settings.max_user_id)
    if error is not None:
        raise ConfigurationError(f"USER: {error[1]}")
    print_line(
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
    """Return a time such as ``90``, ``90s``, ``15m``, ``1h`` or ``30d`` in seconds.

    Raises:
        ConfigurationError: the text has another form, or is not from 1 second to 10 years.
    """
    match = _TTL.match(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_TTL_SECONDS:
        raise ConfigurationError(
            f"--ttl: must be a time from 1s to 3650d, such as 90, 15m, 1h or 30d, not {text!r}"
        )
    return seconds


def _secret(settings: Settings) -> bytes:
    """Return the first secret of JWT_SECRET, or else that of the development login."""
    secrets = load_secrets(settings)
    if secrets:
        return secrets[0]
    if settings.dev_login == "off" and (settings.jwt_public_key or settings.jwt_public_key_file):
        raise ConfigurationError(
            "JWT_PUBLIC_KEY only verifies tokens: sign one with its private key"
        )
    if settings.dev_login != "off" or (settings.data_path / DEV_SECRET_NAME).exists():
        return dev_secret(settings.data_path)
    raise ConfigurationError(
        f"JWT_SECRET must be set as for the service, or --data-dir must name the folder of a "
        f"`chatsvc dev` (there is no {DEV_SECRET_NAME} in {settings.data_path})"
    )
