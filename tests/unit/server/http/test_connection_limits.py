"""How many connections there is limits for, and under what an address counts."""

from __future__ import annotations

import pytest

from chatsvc.server.http.connection_limits import (
    AUTO_PER_ADDRESS,
    address_key,
    connection_limits,
    open_files_limit,
)


@pytest.mark.parametrize(
    ("descriptors", "plain", "total"),
    [
        (None, 2000, 1 << 62),
        (20_000, 2000, 19_800),
        (1024, 412, 824),
        (256, 96, 192),
        (100, 26, 52),
        (40, 1, 1),
    ],
)
def test_the_limit_of_open_files_bounds_both_sorts(
    descriptors: int | None, plain: int, total: int
) -> None:
    limits = connection_limits(2000, None, descriptors)
    assert (limits.plain, limits.total) == (plain, total)


def test_the_bound_of_an_address() -> None:
    assert connection_limits(2000, None, None)[2:] == (AUTO_PER_ADDRESS, False)
    assert connection_limits(2000, 5, None)[2:] == (5, True)
    assert connection_limits(2000, 0, None).per_address == 0
    assert (open_files_limit() or 1) > 0


@pytest.mark.parametrize(
    ("address", "public", "every"),
    [
        ("8.8.8.8", "8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("172.17.0.1", "", "172.17.0.1"),
        ("::1", "", "::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("::ffff:8.8.8.8", "8.8.8.8", "8.8.8.8"),
        ("::ffff:192.168.0.1", "", "192.168.0.1"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64", "2a00:1450:4001:81b::/64"),
        ("2a00:1450:4001:81b:1::", "2a00:1450:4001:81b::/64", "2a00:1450:4001:81b::/64"),
        ("", "", ""),
    ],
)
def test_what_an_address_counts_under(address: str, public: str, every: str) -> None:
    assert address_key(address, count_private=False) == public
    assert address_key(address, count_private=True) == every
