"""Limits of the number of connections, and the key under which an address is counted."""

from __future__ import annotations

import ipaddress
import resource
from functools import lru_cache
from typing import Final, NamedTuple

MIN_RESERVE: Final = 48
MAX_RESERVE: Final = 200
"""Descriptors not for clients: files, the store's connections, those of the event loop."""

AUTO_PER_ADDRESS: Final = 256

_UNLIMITED: Final = 1 << 62


class ConnectionLimits(NamedTuple):
    """The maximum numbers of connections.

    ``plain``: HTTP connections, not upgraded. ``total``: including WebSockets.
    ``per_address``: plain ones of one address, or of one /64 of IPv6; 0 for no limit.
    ``count_private``: whether addresses of this machine and of private networks, where a
    proxy would be, are counted too.
    """

    plain: int = 2000
    total: int = _UNLIMITED
    per_address: int = 0
    count_private: bool = False


def connection_limits(
    plain: int, per_address: int | None, descriptors: int | None
) -> ConnectionLimits:
    """Return the limits that follow from the settings and the limit of open files.

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
    """Return the process's limit of descriptors, or ``None`` if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft in {-1, resource.RLIM_INFINITY} else soft


@lru_cache(maxsize=4096)
def address_key(address: str, *, count_private: bool) -> str:
    """Return the key under which a peer's address is counted; empty if it is not counted.

    The address itself, or its /64 for IPv6, because one host usually has a whole /64.
    """
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
