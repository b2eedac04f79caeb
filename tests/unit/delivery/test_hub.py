"""Who is connected."""

from __future__ import annotations

from chatsvc.delivery.hub import Hub
from tests.support.sockets import connection


def test_a_user_has_any_number_of_connections() -> None:
    hub = Hub()
    phone, laptop, bob = connection("alice"), connection("alice"), connection("bob")
    for one in (phone, laptop, bob):
        hub.add(one)
        assert one.live
    assert hub.of("alice") == (phone, laptop)
    assert hub.count(["alice", "bob", "carol"]) == {"alice": 2, "bob": 1, "carol": 0}
    assert (hub.size, set(hub)) == (3, {phone, laptop, bob})


def test_who_leaves_is_gone_and_leaves_nothing_behind() -> None:
    hub = Hub()
    phone, laptop = connection("alice"), connection("alice")
    hub.add(phone)
    hub.add(laptop)
    hub.discard(phone)
    hub.discard(phone)
    assert not phone.live
    assert laptop.live
    assert (hub.of("alice"), hub.size) == ((laptop,), 1)
    hub.discard(laptop)
    assert (hub.of("alice"), hub.size, hub._users) == ((), 0, {})
    hub.discard(connection("nobody"))
    assert hub.size == 0


def test_the_hub_may_change_while_it_is_gone_through() -> None:
    hub = Hub()
    for name in "abc":
        hub.add(connection(name))
    for one in hub:
        hub.discard(one)
    assert hub.size == 0
