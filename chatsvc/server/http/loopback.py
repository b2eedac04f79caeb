"""Check that a request comes directly from this machine, and not from a foreign page.

Directly: not through a proxy on this machine. A foreign page: one of another origin, in a
browser on this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from chatsvc.core.errors import Forbidden

_FORWARDING: Final = frozenset({"forwarded", "x-real-ip", "via", "x-client-ip", "true-client-ip"})
_LOCAL_HOST: Final = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?\Z", re.IGNORECASE)


def check_local(request: web.BaseRequest) -> None:
    """Check for a loopback peer, no header field of a proxy, and a ``Host`` of this machine.

    Without the check of ``Host``, a page whose name resolves to 127.0.0.1 could send requests
    from a browser on this machine (DNS rebinding).

    Raises:
        Forbidden: the detail names the failed check.
    """
    if not _is_loopback(request.transport):
        raise _refused("the request must come from this machine")
    if _forwarded(request.headers):
        raise _refused("the request must not come through a proxy")
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not _LOCAL_HOST.match(hosts[0]):
        raise _refused("the Host header must be localhost, 127.0.0.1 or [::1]")


def check_page(request: web.BaseRequest, origins: frozenset[str]) -> None:
    """Check that a page in a browser is of this service, of this machine or of ``origins``.

    ``*`` in ``origins`` permits no page.

    Raises:
        Forbidden: because of ``Origin``, or of ``Sec-Fetch-Site`` where there is none.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
            raise _foreign()
        return
    if origin in origins and origin != "*":
        return
    scheme, _, host = origin.partition("://")
    if scheme not in {"http", "https"}:
        raise _foreign()
    if not _LOCAL_HOST.match(host) and host.lower() != request.headers.get("Host", "").lower():
        raise _foreign()


def _foreign() -> Forbidden:
    return Forbidden("the request must not come from a page of another origin", code="foreign_page")


def _forwarded(headers: Mapping[str, str]) -> bool:
    return any(
        name.lower() in _FORWARDING or name.lower().startswith("x-forwarded") for name in headers
    )


def _is_loopback(transport: object) -> bool:
    peer = transport.get_extra_info("peername") if hasattr(transport, "get_extra_info") else None
    if not isinstance(peer, tuple):
        return False
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refused(detail: str) -> Forbidden:
    return Forbidden(detail, code="not_local")
