"""``chatsvc healthcheck``: check the service on this machine, for containers."""

from __future__ import annotations

import argparse
import http.client
import sys
from typing import Final
from urllib.parse import urlsplit

from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_env_file, variables
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import load

_TIMEOUT_SECONDS: Final = 2.0
_EVERYWHERE: Final = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}
_READ: Final = ("HOST", "PORT")


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_env_file(parser)
    parser.add_argument("--url", help="instead of http://127.0.0.1:PORT")
    parser.set_defaults(run=healthcheck)


def healthcheck(arguments: argparse.Namespace) -> int:
    """Request ``/health/live``.

    Returns:
        0 if the answer is 200 within 2 seconds; otherwise 1, with the reason on standard error.
    """
    try:
        urls = [arguments.url] if arguments.url else _own_urls(variables(arguments))
    except ConfigurationError as exc:
        sys.stderr.write(f"chatsvc: {exc}\n")
        return 1  # for containers only 0 and 1 are defined
    errors: list[str] = []
    for url in urls:
        error = _error_of(url)
        if error is None:
            return 0
        errors.append(error)
    sys.stderr.write(f"chatsvc: {errors[0]}\n")
    return 1


def _error_of(url: str) -> str | None:
    """Return what is wrong with the service at ``url``, or ``None``."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http URL")
        make = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = make(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/health/live")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return f"{url} does not answer: {exc}"
    return None if status == http.client.OK else f"{url} answers {status}"


def _own_urls(found: dict[str, str]) -> list[str]:
    """Return the URLs to try: ``::`` accepts IPv4 as well, unless the machine has none."""
    # Only these two settings are read: an error in another one must not fail this command.
    settings = load({name: found[name] for name in _READ if name in found})
    host = settings.host.strip("[]")
    hosts = _EVERYWHERE.get(host, (host,))
    return [f"http://{f'[{one}]' if ':' in one else one}:{settings.port}" for one in hosts]
