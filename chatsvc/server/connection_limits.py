"""How many connections there is room for, and under what a peer's address counts."""

from __future__ import annotations

import ipaddress
import resource
from functools import lru_cache
from typing import Final, NamedTuple

MIN_RESERVE: Final = 48
MAX_RESERVE: Final = 200
"""Descriptors that are no client's: files, the store's connections, the event loop's own."""

AUTO_PER_ADDRESS: Final = 256

_UNLIMITED: Final = 1 << 62


class ConnectionLimits(NamedTuple):
    """How many connections there may be.

    ``plain``: of HTTP, not upgraded. ``total``: with WebSockets. ``per_address``: plain ones
    of one address, or of one /64 of IPv6; 0 for no bound. ``count_private``: whether addresses
    of this machine and of private networks, where a proxy would be, are counted too.
    """

    plain: int = 2000
    total: int = _UNLIMITED
    per_address: int = 0
    count_private: bool = False


def connection_limits(
    plain: int, per_address: int | None, descriptors: int | None
) -> ConnectionLimits:
    """The room that the settings and the limit of open files leave.

    Args:
        plain: ``MAX_HTTP_CONNECTIONS``.
        per_address: ``MAX_HTTP_CONNECTIONS_PER_ADDRESS``; ``None`` for ``auto``.
        descriptors: the limit of open files, ``None`` if there is none.
    """
    total = _UNLIMITED
    if descriptors is not None:
        reserve = min(max(descriptors // 4, MIN_RESERVE), MAX_RESERVE)
        total = max(descriptors - reserve, 1)
        plain = min(plain, max(total // 2, 1))
    if per_address is None:
        return ConnectionLimits(plain, total, AUTO_PER_ADDRESS)
    return ConnectionLimits(plain, total, per_address, count_private=True)


def open_files_limit() -> int | None:
    """The process's own limit of descriptors, ``None`` if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft in {-1, resource.RLIM_INFINITY} else soft


@lru_cache(maxsize=4096)
def address_key(address: str, *, count_private: bool) -> str:
    """Under what a peer's address counts: itself, or its /64 of IPv6 (who has one address of
    it has all). Empty if it is not counted."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""  # a UNIX socket has none
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if not count_private and not parsed.is_global:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)
