"""How long a ``client_id`` is remembered, and that it is never forgotten unstored."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.ids import id_at
from chatsvc.log.keys import SKEW_MS, Key, KeyWindow, Known

WINDOW = 600_000
KEPT = WINDOW + SKEW_MS
T0 = 1_700_000_000_000
FAR = id_at(T0 * 2)


def window(most: int = 1_000_000, since_ms: int = 0) -> KeyWindow:
    return KeyWindow(window_ms=WINDOW, most=most, since_ms=since_ms)


def key(name: str) -> Key:
    return ("alice", "alice,bob", name)


def uuid7(ms: int) -> str:
    return str(uuid.UUID(int=(ms << 80) | (7 << 76) | (0b10 << 62) | 5))


def test_a_key_is_remembered_for_the_window_and_the_skew() -> None:
    keys = window()
    keys.add(key("a"), id_at(T0), b"d")
    keys.forget(T0 + KEPT, FAR)
    assert keys.get(key("a")) == Known(id_at(T0), b"d")
    keys.forget(T0 + KEPT + 1, FAR)
    assert keys.get(key("a")) is None
    assert len(keys) == 0


def test_a_key_that_is_not_stored_is_never_forgotten() -> None:
    keys = window(most=1)
    keys.add(key("a"), id_at(T0), b"")
    keys.add(key("b"), id_at(T0 + 1), b"")
    keys.forget(T0 + 100 * KEPT, id_at(T0) - 1)
    assert keys.get(key("a")) is not None
    keys.forget(T0 + 100 * KEPT, id_at(T0))
    assert keys.get(key("a")) is None
    assert keys.get(key("b")) is not None


def test_beyond_the_bound_the_oldest_stored_go_early_and_it_is_known_from_when() -> None:
    keys = window(most=2)
    for at in range(4):
        keys.add(key(str(at)), id_at(T0 + at), b"")
    keys.forget(T0 + 10, FAR)
    assert [keys.get(key(str(at))) is not None for at in range(4)] == [False, False, True, True]
    assert keys.forgotten_early == 2
    assert keys.since_ms(T0 + 10) == T0 + 2
    assert keys.since_ms(T0 + 10 + 2 * WINDOW) == T0 + 10 + WINDOW, "the window has passed it"


def test_what_looks_younger_than_it_is_raises_the_age_from_which_all_are_known() -> None:
    keys = window(most=0)
    minted = T0 + 100_000
    keys.add(key(uuid7(minted)), id_at(T0), b"")
    keys.forget(T0 + 1, FAR)
    assert len(keys) == 0
    assert keys.since_ms(T0 + 1) > minted


def test_a_key_minted_by_a_clock_ahead_is_kept_until_it_looks_old() -> None:
    keys = window()
    ahead = T0 + KEPT  # this clock is far ahead
    name = key(uuid7(ahead))
    keys.add(name, id_at(T0), b"")
    now = T0
    while now <= ahead + KEPT:
        keys.forget(now, FAR)
        assert keys.get(name) is not None, "it would look fresh, and be taken for new"
        now += WINDOW // 4
    keys.forget(now + 3 * KEPT, FAR)
    assert keys.get(name) is None


def test_a_key_that_a_log_holds_twice_is_the_later_one_and_is_forgotten_once() -> None:
    keys = window()
    keys.add(key("again"), id_at(T0), b"first")
    keys.add(key("again"), id_at(T0 + KEPT + 10), b"second")
    keys.forget(T0 + KEPT + 5, FAR)
    assert keys.get(key("again")) == Known(id_at(T0 + KEPT + 10), b"second")
    keys.forget(T0 + 3 * KEPT, FAR)
    assert keys.get(key("again")) is None
    assert keys._order == type(keys._order)()


def test_a_call_forgets_a_bounded_amount() -> None:
    keys = window()
    for at in range(2_500):
        keys.add(key(str(at)), id_at(T0), b"")
    keys.forget(T0 + KEPT + 1, FAR)
    assert 0 < len(keys) < 2_500
    for _ in range(3):
        keys.forget(T0 + KEPT + 1, FAR)
    assert len(keys) == 0


@given(st.lists(st.tuples(st.integers(0, KEPT), st.integers(0, 5)), max_size=60), st.data())
def test_within_the_window_and_since_every_key_is_known(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """The promise that services stand on: at or above ``since_ms`` the log can tell."""
    keys = window(most=data.draw(st.integers(0, 20)))
    now = T0
    last = 0
    latest: dict[Key, int] = {}
    for pause, name in steps:
        now += pause
        last = max(id_at(now), last + 64)
        keys.add(key(str(name)), last, b"")
        latest[key(str(name))] = last
        keys.forget(now, data.draw(st.sampled_from([0, last, FAR])))
        for known, record_id in latest.items():
            if record_id >> 16 >= keys.since_ms(now):
                assert keys.get(known) is not None
