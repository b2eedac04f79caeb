"""What one call of the memory of keys does at most, and that its lists stay small."""

from __future__ import annotations

import pytest

from chatsvc.core.ids import MAX_ID
from chatsvc.log import idempotency as keys_module
from chatsvc.log.idempotency import KeyWindow

LOOKED_AT = 16


def window(max_keys: int = 1_000_000, per_sender: int = 1_000_000) -> KeyWindow:
    return KeyWindow(max_keys=max_keys, max_keys_per_sender=per_sender)


def add(keys: KeyWindow, record_id: int, sender: str) -> None:
    keys.add((sender, "channel", str(record_id)), record_id, b"")


def count(keys: KeyWindow, sender: str) -> int:
    return sum(key[0] == sender for key in keys._known)


def test_a_position_stays_below_what_a_call_left_over() -> None:
    keys = window()
    for number in range(1, 1_003):
        add(keys, 10 * number, "alice")
    keys.forget(MAX_ID, MAX_ID)
    assert len(keys) == 2
    assert keys.position == 10 * 1_001 - 1


def test_a_sender_beyond_its_bound_loses_so_many_in_a_call() -> None:
    keys = window(per_sender=1)
    for number in range(1, 2_502):
        add(keys, number, "flood")
    left = []
    for _ in range(4):
        keys.forget(0, MAX_ID)
        left.append(len(keys))
    assert left == [1_501, 501, 1, 1]


def test_what_is_stored_goes_up_to_the_position_itself() -> None:
    keys = window(per_sender=1)
    for record_id in (10, 20, 30):
        add(keys, record_id, "alice")
    keys.forget(0, 10)
    assert len(keys) == 2
    keys.forget(0, 19)
    assert len(keys) == 2
    keys.forget(0, 20)
    assert len(keys) == 1


def test_who_is_at_the_bound_keeps_nobody_from_being_looked_at() -> None:
    keys = window(per_sender=2)
    for number in range(LOOKED_AT):
        add(keys, 2 * number + 1, f"u{number}")
        add(keys, 2 * number + 2, f"u{number}")
    for record_id in (101, 102, 103):
        add(keys, record_id, "flood")
    keys.forget(0, MAX_ID)
    assert count(keys, "flood") == 2
    for number in range(LOOKED_AT):
        add(keys, 201 + number, f"u{number}")
    keys.forget(0, MAX_ID)
    for record_id in (301, 302, 303):
        add(keys, record_id, "late")
    keys.forget(0, MAX_ID)
    assert count(keys, "late") == 2, "those that were shortened are out of the way"


def test_who_is_far_beyond_the_bound_lets_the_others_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_module, "_FORGET_AT_ONCE", 10)
    keys = window(per_sender=1)
    last = 0
    for number in range(LOOKED_AT):
        for _ in range(12):
            last += 1
            add(keys, last, f"flood {number}")
    for _ in range(2):
        last += 1
        add(keys, last, "alice")
    keys.forget(0, MAX_ID)
    assert (count(keys, "alice"), count(keys, "flood 0")) == (2, 2)
    keys.forget(0, MAX_ID)
    assert (count(keys, "alice"), count(keys, "flood 0")) == (1, 1)


def test_who_has_no_keys_left_keeps_nobody_from_being_looked_at() -> None:
    keys = window(per_sender=1)
    for number in range(2 * LOOKED_AT):
        add(keys, number + 1, f"u{number // 2}")
    for record_id in (101, 102):
        add(keys, record_id, "flood")
    keys.forget(2 * LOOKED_AT, MAX_ID)
    assert len(keys) == count(keys, "flood") == 1


def test_a_call_looks_at_so_many_senders_for_a_stored_key() -> None:
    """Of as many keys as the others, and behind all of them."""
    keys = window(max_keys=1)
    add(keys, 1, "stored")
    for number in range(2 * LOOKED_AT):
        add(keys, 100 + number, f"u{number}")
    for number in range(2 * LOOKED_AT):
        add(keys, 200 + number, f"u{number}")
    add(keys, 300, "stored")
    found = []
    for _ in range(3):
        keys.forget(0, 50)
        found.append(count(keys, "stored") == 1)
    assert found == [False, False, True]


def test_a_senders_list_holds_no_more_that_is_gone_than_is_left() -> None:
    keys = window()
    for record_id in range(1, 129):
        add(keys, record_id, "alice")
    sender = keys._senders["alice"]
    for gone, start in ((63, 63), (64, 0), (127, 63), (128, 0)):
        keys.forget(gone, MAX_ID)
        assert len(keys) == len(sender) == 128 - gone
        if gone < 128:
            assert (sender.start, sender.oldest) == (start, gone + 1)


def test_the_heap_of_senders_is_cut_at_twice_their_number() -> None:
    keys = window(max_keys=40)
    longest = 0
    for record_id in range(1, 1_000):
        add(keys, record_id, f"u{record_id}")
        keys.forget(0, MAX_ID)
        longest = max(longest, len(keys._oldest))
    assert longest == 2 * 40 + 64
