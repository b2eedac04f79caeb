"""``chatsvc healthcheck``: does the service on this machine live? For containers."""

from __future__ import annotations

import argparse
import http.client
import sys
from typing import Final
from urllib.parse import urlsplit

from chatsvc.cli.options import variables
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings import load

_TIMEOUT_SECONDS: Final = 2.0
_EVERYWHERE: Final = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}
_READ: Final = ("HOST", "PORT")


def healthcheck(arguments: argparse.Namespace) -> int:
    """0 if ``/health/live`` answers 200 within 2 seconds, otherwise 1 and why."""
    try:
        urls = [arguments.url] if arguments.url else _own_urls(variables(arguments))
    except ConfigurationError as exc:
        sys.stderr.write(f"chatsvc: {exc}\n")
        return 1  # containers know 0 and 1 alone
    faults: list[str] = []
    for url in urls:
        fault = _fault_of(url)
        if fault is None:
            return 0
        faults.append(fault)
    sys.stderr.write(f"chatsvc: {faults[0]}\n")
    return 1


def _fault_of(url: str) -> str | None:
    """What is wrong with the service there, or ``None``."""
    parts = urlsplit(url)
    try:
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
    """Where it may be: ``::`` takes IPv4 as well, unless the machine has none."""
    # Only these two: another setting that cannot be used is not this command's to report.
    settings = load({name: found[name] for name in _READ if name in found})
    host = settings.host.strip("[]")
    hosts = _EVERYWHERE.get(host, (host,))
    return [f"http://{f'[{one}]' if ':' in one else one}:{settings.port}" for one in hosts]
