"""Who is connected."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from chatsvc.delivery.hub import Hub
from tests.unit.support.sockets import connection


def test_a_user_has_any_number_of_connections() -> None:
    hub = Hub()
    phone, laptop, bob = connection("alice"), connection("alice"), connection("bob")
    for one in (phone, laptop, bob):
        hub.add(one)
        assert one.live
    assert list(hub.of("alice")) == [phone, laptop]
    assert hub.count(["alice", "bob", "carol"]) == {"alice": 2, "bob": 1, "carol": 0}
    assert (hub.size, set(hub)) == (3, {phone, laptop, bob})


def test_who_leaves_is_gone_and_leaves_nothing_behind() -> None:
    hub = Hub()
    phone, laptop = connection("alice"), connection("alice")
    hub.add(phone)
    hub.add(laptop)
    assert hub.discard(phone)
    assert not hub.discard(phone)
    assert (phone.live, laptop.live) == (False, True)
    assert (list(hub.of("alice")), hub.size) == ([laptop], 1)
    assert hub.discard(laptop)
    assert (list(hub.of("alice")), hub.size, hub._users) == ([], 0, {})
    assert not hub.discard(connection("nobody"))
    assert hub.size == 0


def test_who_is_added_twice_is_there_once() -> None:
    hub = Hub()
    phone, laptop = connection("alice"), connection("alice")
    for one in (phone, phone, laptop, laptop, phone):
        hub.add(one)
    assert (list(hub.of("alice")), hub.size) == ([phone, laptop], 2)


def steps(work: Callable[[], object]) -> int:
    """How many calls the interpreter makes, each item of a generator included."""
    events: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        events.append(event)

    gc.disable()  # a collection in between would run finalizers and others' callbacks
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return len(events)


def test_coming_and_going_costs_the_same_however_many_a_user_has() -> None:
    costs = []
    for many in (10, 2000):
        hub = Hub()
        crowd = [connection("alice") for _ in range(many)]
        for one in crowd:
            hub.add(one)
        last = connection("alice")
        come = steps(lambda hub=hub, last=last: hub.add(last))  # type: ignore[misc]
        go = steps(lambda hub=hub, one=crowd[5]: hub.discard(one))  # type: ignore[misc]
        costs.append((come, go))
    assert costs[0] == costs[1]


def test_the_hub_may_change_while_it_is_gone_through() -> None:
    hub = Hub()
    for name in "abcaa":
        hub.add(connection(name))
    for one in hub:
        hub.discard(one)
    assert hub.size == 0
