from __future__ import annotations

import pytest

from chatsvc.client.errors import QueueFull
from chatsvc.client.outbox import Outbox


def put(outbox: Outbox[str], *names: str) -> None:
    for name in names:
        outbox.add(outbox.reserve(), name.encode(), name)


def take_all(outbox: Outbox[str]) -> list[str]:
    taken = []
    while (entry := outbox.take()) is not None:
        taken.append(entry.waiter)
    return taken


def test_entries_go_out_in_order_each_once() -> None:
    outbox: Outbox[str] = Outbox()
    put(outbox, "a", "b", "c")
    assert take_all(outbox) == ["a", "b", "c"]
    assert take_all(outbox) == []
    assert len(outbox) == 3


def test_the_bound_counts_what_is_in_flight_too() -> None:
    outbox: Outbox[str] = Outbox(capacity=2)
    put(outbox, "a", "b")
    take_all(outbox)
    with pytest.raises(QueueFull, match="2 sends"):
        outbox.reserve()
    outbox.finish("1")
    put(outbox, "c")
    assert take_all(outbox) == ["c"]


def test_the_window_bounds_what_is_in_flight() -> None:
    outbox: Outbox[str] = Outbox(window=2)
    put(outbox, "a", "b", "c")
    assert take_all(outbox) == ["a", "b"]
    assert outbox.finish("1") is not None
    assert take_all(outbox) == ["c"]


def test_what_was_in_flight_goes_first_after_a_reconnect() -> None:
    outbox: Outbox[str] = Outbox(window=11)
    put(outbox, *"abcdefghijklm")
    take_all(outbox)
    outbox.finish("2")
    outbox.connection_lost()
    assert outbox.in_flight == 0
    assert take_all(outbox) == list("acdefghijkl")  # and 'm' when the window has room
    outbox.finish("10")
    assert take_all(outbox) == ["m"]


def test_one_that_is_put_back_keeps_its_place() -> None:
    outbox: Outbox[str] = Outbox()
    put(outbox, "a", "b")
    take_all(outbox)
    put(outbox, "c")
    entry = outbox.put_back("1")
    assert entry is not None
    assert entry.refusals == 1
    assert take_all(outbox) == ["a", "c"]


def test_a_second_ack_and_an_unknown_ref_are_nothing() -> None:
    outbox: Outbox[str] = Outbox()
    put(outbox, "a")
    take_all(outbox)
    assert outbox.finish("1") is not None
    assert outbox.finish("1") is None
    assert outbox.finish(None) is None
    assert outbox.put_back("1") is None
    assert outbox.put_back(None) is None


def test_one_discarded_while_it_waits_is_not_written() -> None:
    outbox: Outbox[str] = Outbox()
    put(outbox, "a", "b")
    outbox.finish("1")
    assert take_all(outbox) == ["b"]


def test_the_largest_in_flight_and_clearing() -> None:
    outbox: Outbox[str] = Outbox()
    assert outbox.largest_in_flight() is None
    put(outbox, "a", "long", "b")
    take_all(outbox)
    put(outbox, "longest of all, but not in flight")
    largest = outbox.largest_in_flight()
    assert largest is not None
    assert largest.waiter == "long"
    assert len(outbox.clear()) == 4
    assert len(outbox) == outbox.in_flight == 0
    assert take_all(outbox) == []
