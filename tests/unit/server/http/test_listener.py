"""Where the service listens, for each form of HOST, and what its address is called."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from chatsvc.core.errors import ConfigurationError
from chatsvc.server.http import listener as module
from chatsvc.server.http.listener import check_host, listen, url_of
from chatsvc.settings.table import load

Listen = Callable[..., list[socket.socket]]
V4, V6 = socket.AF_INET, socket.AF_INET6


def has_ipv6() -> bool:
    try:
        with closing(socket.create_server(("::1", 0), family=V6)):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def listening() -> Iterator[Listen]:
    """Listens on a HOST; closed afterwards."""
    with ExitStack() as stack:

        def start(host: str, port: int = 0) -> list[socket.socket]:
            found = listen(load({"HOST": host, "PORT": str(port)}))
            for one in found:
                stack.callback(one.close)
            return found

        yield start


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a name stand for addresses."""
    original = socket.getaddrinfo

    def let(name: str, *addresses: str) -> None:
        def found(host: str, *args: object, **kwargs: object) -> list[object]:
            if host != name:
                return original(host, *args, **kwargs)  # type: ignore[arg-type,return-value]
            return [one for each in addresses for one in original(each, *args, **kwargs)]  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return let


def answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=10):
            return True
    except OSError:
        return False


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_of_both_families(listening: Listen, host: str) -> None:
    (one,) = listening(host)
    port = one.getsockname()[1]
    assert answers("127.0.0.1", port)
    assert answers("::1", port)
    assert url_of(host, one) == f"http://[::1]:{port}"


def test_all_addresses_of_ipv4(listening: Listen) -> None:
    (one,) = listening("0.0.0.0")
    port = one.getsockname()[1]
    assert answers("127.0.0.1", port)
    assert url_of("0.0.0.0", one) == f"http://127.0.0.1:{port}"


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_one_address_of_ipv6(listening: Listen, host: str) -> None:
    (one,) = listening(host)
    port = one.getsockname()[1]
    assert answers("::1", port)
    assert not answers("127.0.0.1", port)
    assert url_of(host, one) == f"http://[::1]:{port}"


@needs_ipv6
@pytest.mark.parametrize("order", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_localhost_is_each_loopback_address_on_one_port(
    listening: Listen, resolve: Callable[..., None], order: tuple[str, str]
) -> None:
    resolve("localhost", *order)
    first, second = listening("localhost")
    port = first.getsockname()[1]
    assert second.getsockname()[1] == port
    assert (first.family, second.family) == (V4, V6)
    assert answers("127.0.0.1", port)
    assert answers("::1", port)
    assert url_of("localhost", first) == f"http://localhost:{port}"


def test_localhost_that_is_no_loopback_address_is_refused(
    listening: Listen, resolve: Callable[..., None]
) -> None:
    """The development login trusts that HOST=localhost is reached from here alone."""
    resolve("localhost", "0.0.0.0")
    with pytest.raises(ConfigurationError, match=r"^HOST: localhost .* is 0\.0\.0\.0 "):
        listening("localhost")


def test_an_address_of_a_family_that_is_not_here_is_left_out(
    listening: Listen, resolve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve("localhost", "::1", "127.0.0.1")
    original = socket.create_server

    def without_ipv6(address: tuple[str, int], **options: object) -> socket.socket:
        if options["family"] == V6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return original(address, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    (one,) = listening("localhost")
    assert one.family == V4
    with pytest.raises(ConfigurationError, match="Cannot assign requested address"):
        listening("::1")


@needs_ipv6
def test_a_port_that_is_taken_for_one_of_two_addresses_is_taken(
    listening: Listen, resolve: Callable[..., None]
) -> None:
    resolve("localhost", "127.0.0.1", "::1")
    with closing(socket.create_server(("::1", 0), family=V6)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"^PORT: {port} on localhost is in use"):
            listening("localhost", port)
    assert answers("127.0.0.1", port) is False, "nothing is left listening"


@needs_ipv6
def test_a_free_port_is_free_for_both(
    listening: Listen, resolve: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve("localhost", "127.0.0.1", "::1")
    original = module._listener
    taken: list[int] = []

    def first_one_taken(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == V6 and not taken:
            taken.append(port)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return original(family, address, port)

    monkeypatch.setattr(module, "_listener", first_one_taken)
    first, second = listening("localhost")
    assert first.getsockname()[1] == second.getsockname()[1]
    assert taken


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-name.invalid", "a..b", "x" * 80 + ".com"])
def test_an_address_that_is_not_this_machines(host: str) -> None:
    settings = load({"HOST": host, "PORT": "0"})
    for act in (listen, check_host):
        with pytest.raises(ConfigurationError, match=r"^HOST: cannot listen on "):
            act(settings)


def test_a_host_can_be_checked_while_its_port_is_taken() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        check_host(load({"HOST": "127.0.0.1", "PORT": str(taken.getsockname()[1])}))


def test_a_scope_is_escaped_in_the_address() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        port = one.getsockname()[1]
        assert url_of("fe80::1%eth0", one) == f"http://[fe80::1%25eth0]:{port}"


def test_what_is_accepted_has_the_configured_send_buffer() -> None:
    found = listen(load({"PORT": "0", "SOCKET_SNDBUF_BYTES": "64KiB"}))
    with closing(found[0]) as one:
        # The kernel doubles what is asked for, for its own bookkeeping (socket(7)).
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536
        assert one.getblocking() is False
