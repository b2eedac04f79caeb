"""The listening sockets."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import Settings

LISTEN_BACKLOG: Final = 4096
"""With the kernel's 128, 10,000 reconnects at once take 15 seconds instead of 2."""
_TRIES: Final = 20
_NOT_AVAILABLE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""Errors of an address family that this machine, or this container, does not have."""

_Address = tuple[socket.AddressFamily, str]


def listen(settings: Settings) -> list[socket.socket]:
    """Bind ``HOST`` and ``PORT``; return one socket for each address of the host.

    ``::`` accepts IPv4 on the same socket; ``localhost`` and other names have a socket for
    each of their addresses that this machine has, all on one port.

    Raises:
        ConfigurationError: the port is in use, or this machine has none of the addresses.
    """
    host, port = settings.host, settings.port
    addresses = _addresses(host, port)
    for last in range(_TRIES, 0, -1):
        try:
            return _bind(addresses, port, settings.socket_sndbuf_bytes)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                if port == 0 and last > 1:
                    continue  # the port was free for one address and in use for the next
                other = port + 1 if port < 65535 else 8080
                raise ConfigurationError(
                    f"PORT: {port} on {host} is in use by another program: stop it, or set another "
                    f"port: --port {other} or PORT={other}"
                ) from exc
            raise _cannot_listen(host, port, exc) from exc
    raise AssertionError("the last try returns or raises")


def check_host(settings: Settings) -> None:
    """Check that this machine has an address of ``HOST``; a port is bound for a moment.

    Raises:
        ConfigurationError: as :func:`listen`.
    """
    try:
        found = _bind(_addresses(settings.host, settings.port), 0, settings.socket_sndbuf_bytes)
    except OSError as exc:
        raise _cannot_listen(settings.host, settings.port, exc) from exc
    for listener in found:
        listener.close()


def _cannot_listen(host: str, port: int, exc: OSError) -> ConfigurationError:
    return ConfigurationError(f"HOST: cannot listen on {host}:{port}: {exc.strerror}")


def _addresses(host: str, port: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not a name"
        raise ConfigurationError(f"HOST: cannot listen on {host}:{port}: {reason}") from exc
    addresses: list[_Address] = []
    for family, _, _, _, address in found:
        number, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        if host.lower() == "localhost" and not ipaddress.ip_address(number).is_loopback:
            raise ConfigurationError(
                f"HOST: localhost must be a loopback address, and is {number} on this machine: set "
                "HOST to 127.0.0.1"
            )
        if (family, number) not in addresses:
            addresses.append((family, number))
    # IPv4 first: nearly every machine has it, and the first chooses a free port.
    return sorted(addresses, key=lambda one: one[0] != socket.AF_INET)


def _bind(addresses: Sequence[_Address], port: int, send_buffer: int) -> list[socket.socket]:
    found: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                listener = _listener(family, address, found[0].getsockname()[1] if found else port)
            except OSError as exc:
                if exc.errno not in _NOT_AVAILABLE:
                    raise
                absent = exc
                continue
            found.append(listener)
            # Accepted sockets inherit it: a slow reader then fills the server's buffer, which
            # is bounded and checked, and not four megabytes in the kernel.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            listener.setblocking(False)
        if not found:
            raise absent or OSError(errno.EADDRNOTAVAIL, "it has no address")
    except BaseException:
        for listener in found:
            listener.close()
        raise
    return found


def _listener(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    dual_stack = address == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(
        (address, port), family=family, backlog=LISTEN_BACKLOG, dualstack_ipv6=dual_stack
    )


def url_of(host: str, listener: socket.socket) -> str:
    """Return the URL of the service on this machine.

    Args:
        host: as it is configured.
        listener: the first one; all have the same port.
    """
    port = listener.getsockname()[1]
    host = host.strip("[]")
    return f"http://{_reachable(host)}:{port}"


def _reachable(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    # RFC 6874: the percent sign of a scope is escaped.
    return f"[{address}]".replace("%", "%25") if address.version == 6 else str(address)
