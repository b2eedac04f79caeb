"""Origins of pages, in the form of the ``Origin`` header (RFC 6454 §6.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = "loopback"
"""A value that stands for every page of this machine, on any port."""

_LOOPBACK_PAGE: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_WITHOUT_HOST: Final = frozenset({"null", "file://"})
"""The origins of pages without an address: sandboxed pages, files and some web views."""


def is_loopback_page(origin: str) -> bool:
    """Whether a page with this ``Origin`` comes from this machine."""
    return _LOOPBACK_PAGE.match(origin) is not None


def origin_error(text: str) -> str | None:
    """Return why no browser sends this as ``Origin`` and what to write, or ``None``."""
    if text in _WITHOUT_HOST:
        return None
    if "*" in text:
        return f"{text!r} must not contain *: name each origin, or write * alone for all"
    if any(character.isspace() for character in text):
        return f"{text!r} must not contain white space: origins are joined by commas"
    if "://" not in text:
        guess = _canonical(f"https://{text}")
        hint = f": write {guess}" if guess else ""
        return f"{text!r} must begin with a scheme, which browsers always send{hint}"
    canonical = _canonical(text)
    if canonical is None:
        return f"{text!r} must be an origin: write scheme://host or scheme://host:port"
    if canonical != text:
        return f"{text!r} must be written as browsers send it: write {canonical}"
    return None


def _canonical(text: str) -> str | None:
    """Return the form that browsers send, or ``None`` for text that is no origin."""
    try:
        parts = urlsplit(text)
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if not host or not _SCHEME.match(scheme):
        return None
    shown = f":{port}" if port is not None and port != _DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{host}{shown}"


def _host(name: str) -> str:
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name)}]"
    if not name.isascii():
        name = name.encode("idna").decode()
    return name.lower()
