"""``chatsvc healthcheck``: does the service on this machine live? For containers."""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from typing import Final
from urllib.parse import urlsplit

from chatsvc.core.errors import ConfigurationError
from chatsvc.settings import load

_TIMEOUT_SECONDS: Final = 2.0
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", "[::]"})
_READ: Final = ("HOST", "PORT")


def healthcheck(arguments: argparse.Namespace) -> int:
    """0 if ``/health/live`` answers 200 within 2 seconds, otherwise 1 and why."""
    try:
        url = arguments.url or _own_url()
    except ConfigurationError as exc:
        sys.stderr.write(f"chatsvc: {exc}\n")
        return 1  # containers know 0 and 1 alone
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
        sys.stderr.write(f"chatsvc: {url} does not answer: {exc}\n")
        return 1
    if status != http.client.OK:
        sys.stderr.write(f"chatsvc: {url} answers {status}\n")
        return 1
    return 0


def _own_url() -> str:
    # Only these two: another setting that cannot be used is not this command's to report.
    settings = load({name: os.environ[name] for name in _READ if name in os.environ})
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
