"""How long a ``client_id`` is remembered, that it is never forgotten unstored, and whose
keys go where there are too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.ids import MAX_ID
from chatsvc.log.idempotency import Key, KeyWindow, Known
from chatsvc.log.key_bounds import KeyBounds
from testkit.client_ids import uuid7_at

T0 = 1_700_000_000_000
YEAR = 365 * 86_400_000


def window(max_keys: int = 1_000_000, per_sender: int = 1_000_000) -> KeyWindow:
    return KeyWindow(max_keys=max_keys, max_keys_per_sender=per_sender)


def key(name: str, sender: str = "alice") -> Key:
    return (sender, f"{sender},zoe", name)


def held(keys: KeyWindow, names: list[str], sender: str = "alice") -> list[str]:
    return [name for name in names if keys.get(key(name, sender)) is not None]


def test_a_key_is_remembered_up_to_the_position_that_is_a_window_old() -> None:
    keys = window()
    keys.add(key("a"), 10, b"d")
    keys.forget(9, MAX_ID)
    assert keys.get(key("a")) == Known(10, b"d")
    assert keys.position == 9
    keys.forget(10, MAX_ID)
    assert keys.get(key("a")) is None
    assert (len(keys), keys.position, keys.forgotten_to) == (0, 10, 10)
    assert keys.forgotten_early == 0


def test_a_key_that_is_not_stored_is_never_forgotten() -> None:
    keys = window(max_keys=1, per_sender=1)
    keys.add(key("a"), 10, b"")
    keys.add(key("b"), 20, b"")
    keys.forget(MAX_ID, 9)
    assert held(keys, ["a", "b"]) == ["a", "b"]
    assert keys.position == 9
    keys.forget(MAX_ID, 10)
    assert held(keys, ["a", "b"]) == ["b"]


def test_positions_never_go_back() -> None:
    keys = window()
    keys.forget(50, MAX_ID)
    keys.forget(20, MAX_ID)
    assert keys.position == 50


def test_a_uuid7_leaves_a_bound_behind_and_another_string_none() -> None:
    keys = window()
    keys.add(key("plain"), 10, b"")
    keys.add(key(uuid7_at(T0)), 20, b"")
    assert not keys.may_have_forgotten(key(uuid7_at(T0, 2)))
    keys.forget(20, MAX_ID)
    assert keys.may_have_forgotten(key(uuid7_at(T0)))
    assert not keys.may_have_forgotten(key(uuid7_at(T0 + 1)))
    assert not keys.may_have_forgotten(key("plain"))


def test_an_id_minted_far_ahead_before_ordinary_ones() -> None:
    """It goes in its turn, those behind it in theirs, and only its sender is asked about."""
    keys = window()
    ahead = key(uuid7_at(T0 + YEAR), "future")
    keys.add(ahead, 10, b"")
    ordinary = [key(uuid7_at(T0 + at), f"u{at}") for at in range(5)]
    for at, one in enumerate(ordinary):
        keys.add(one, 20 + at, b"")
    keys.forget(10, MAX_ID)
    assert keys.get(ahead) is None
    assert all(keys.get(one) is not None for one in ordinary)
    keys.forget(24, MAX_ID)
    assert len(keys) == 0
    assert keys.may_have_forgotten(ahead)
    assert keys.may_have_forgotten(key(uuid7_at(T0 + 100), "future"))
    for at in range(5):
        assert keys.may_have_forgotten(ordinary[at])
        assert not keys.may_have_forgotten(key(uuid7_at(T0 + at + 1), f"u{at}"))
    assert not keys.may_have_forgotten(key(uuid7_at(0), "somebody else"))


def test_beyond_a_senders_bound_that_senders_oldest_go_early() -> None:
    keys = window(per_sender=2)
    keys.add(key(uuid7_at(T0), "honest"), 1, b"")
    names = [uuid7_at(T0 + at) for at in range(5)]
    for at, name in enumerate(names):
        keys.add(key(name), 10 + at, b"")
    keys.forget(0, MAX_ID)
    assert held(keys, names) == names[3:]
    assert keys.forgotten_early == 3
    assert (keys.position, keys.forgotten_to) == (0, 12)
    assert keys.get(key(uuid7_at(T0), "honest")) is not None
    assert keys.may_have_forgotten(key(uuid7_at(T0 + 2, 7)))
    assert not keys.may_have_forgotten(key(uuid7_at(T0 + 3, 7)))
    assert not keys.may_have_forgotten(key(uuid7_at(T0), "third"))


def test_beyond_the_bound_of_all_who_has_the_most_loses_first() -> None:
    keys = window(max_keys=40)
    honest = [uuid7_at(T0 + at) for at in range(8)]
    for at, name in enumerate(honest):
        keys.add(key(name, "honest"), at + 1, b"")
    for at in range(1000):
        keys.add(key(uuid7_at(T0 + at), "flood"), 100 + at, b"")
        keys.forget(0, MAX_ID)
    assert len(keys) == 40
    assert held(keys, honest, "honest") == honest
    assert keys.forgotten_early == 968


def test_a_flood_that_is_not_stored_costs_the_others_nothing() -> None:
    keys = window(max_keys=20, per_sender=10)
    honest = [uuid7_at(T0 + at) for at in range(3)]
    for at, name in enumerate(honest):
        keys.add(key(name, "honest"), at + 1, b"")
    for at in range(100):
        keys.add(key(uuid7_at(T0 + at), "flood"), 100 + at, b"")
        keys.forget(0, 99)
    assert held(keys, honest, "honest") == honest
    assert len(keys) == 103, "what is not stored is bounded by the backlog"
    keys.forget(0, MAX_ID)
    assert len(keys) == 13
    assert held(keys, honest, "honest") == honest


def test_those_with_as_many_take_turns_until_the_bound_holds() -> None:
    keys = window(max_keys=100)
    for at in range(50):
        for sender in range(20):
            keys.add(key(str(at), f"u{sender}"), 20 * at + sender + 1, b"")
    keys.forget(0, MAX_ID)
    assert len(keys) == 100
    left = [sum(keys.get(key(str(at), f"u{s}")) is not None for at in range(50)) for s in range(20)]
    assert max(left) <= 2 * min(left) + 1, left


def test_a_stored_sender_behind_many_that_are_not_is_found() -> None:
    keys = window(max_keys=10)
    for at in range(40):
        keys.add(key("k", f"u{at}"), 100 + at, b"")
    for _ in range(10):
        keys.forget(0, 100)
    assert keys.get(key("k", "u0")) is None
    assert len(keys) == 39


def test_a_key_that_a_log_holds_twice_is_the_later_one_and_is_forgotten_once() -> None:
    keys = window()
    keys.add(key("again"), 10, b"first")
    keys.add(key("again"), 20, b"second")
    keys.forget(15, MAX_ID)
    assert keys.get(key("again")) == Known(20, b"second")
    keys.forget(20, MAX_ID)
    assert keys.get(key("again")) is None
    assert len(keys) == 0


def test_a_call_forgets_a_bounded_amount() -> None:
    keys = window()
    for at in range(2_500):
        keys.add(key(str(at), f"u{at % 3}"), at + 1, b"")
    keys.forget(2_500, MAX_ID)
    assert len(keys) == 1_500
    assert keys.position < 2_500
    for _ in range(2):
        keys.forget(2_500, MAX_ID)
    assert len(keys) == 0
    assert keys.position == 2_500


def test_what_an_earlier_epoch_forgot_may_not_be_stored_any_more() -> None:
    earlier = KeyBounds()
    keys = KeyWindow(max_keys=9, max_keys_per_sender=9, bounds=KeyBounds(earlier.save(position=70)))
    assert (keys.position, keys.forgotten_to) == (70, 70)


def test_a_sender_that_lost_all_its_keys_and_comes_back_is_listed_once() -> None:
    keys = window(max_keys=1)
    for at in range(20):
        keys.add(key(str(at)), 2 * at + 1, b"")
        keys.add(key(str(at), "another"), 2 * at + 2, b"")
        keys.forget(0, MAX_ID)
    keys.forget(39, MAX_ID)
    assert held(keys, ["19"], "another") == ["19"]
    assert keys._oldest == [(40, "another")]


def test_senders_that_come_and_go_leave_nothing_behind() -> None:
    keys = window(max_keys=10)
    for at in range(5_000):
        keys.add(key("k", f"u{at}"), at + 1, b"")
        keys.forget(0, MAX_ID)
    assert len(keys) == 10
    assert len(keys._senders) == 10
    assert len(keys._oldest) < 200
    keys.forget(5_000, MAX_ID)
    assert not keys._senders
    assert not any(keys._ranks)


@given(st.data())
def test_what_is_above_the_position_is_known_or_its_bound_is(data: st.DataObject) -> None:
    """Against plain lists: a UUIDv7 is known, or covered, or was never used."""
    per_sender = data.draw(st.integers(1, 6))
    max_keys = data.draw(st.integers(1, 12))
    keys = KeyWindow(max_keys=max_keys, max_keys_per_sender=per_sender, bounds=KeyBounds())
    used: list[tuple[int, Key]] = []
    last = 0
    for _ in range(data.draw(st.integers(1, 60))):
        last += data.draw(st.integers(1, 5))
        minted = T0 + data.draw(st.integers(0, 50))
        name = data.draw(st.sampled_from([uuid7_at(minted, last), f"plain {last}"]))
        one = key(name, f"u{data.draw(st.integers(0, 3))}")
        keys.add(one, last, b"")
        used.append((last, one))
        stored = data.draw(st.integers(0, last))
        up_to = data.draw(st.integers(0, last))
        keys.forget(up_to, stored)
        assert keys.position <= last
        for record_id, one in used:
            known = keys.get(one) is not None
            assert known or record_id <= keys.forgotten_to
            if one[2][:5] != "plain":
                assert known or keys.may_have_forgotten(one)
        counts: dict[str, int] = {}
        for _, one in used:
            if keys.get(one) is not None:
                counts[one[0]] = counts.get(one[0], 0) + 1
        if stored == last:
            assert len(keys) <= max_keys
            assert max(counts.values(), default=0) <= per_sender
