"""User ids, sets of them, and the key that anyone can compute."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import Invalid
from chatsvc.core.participants import (
    HASHED_PREFIX,
    MAX_CHANNEL_BYTES,
    MAX_PARTICIPANTS,
    MAX_USER_ID,
    channel_error,
    channel_key,
    check_user_id,
    normalize_participants,
    user_id_error,
)

USER = st.text(min_size=1, max_size=20).filter(lambda text: user_id_error(text) is None)


@pytest.mark.parametrize(
    ("user", "code", "limit"),
    [
        ("", "too_short", 1),
        ("a" * 129, "too_long", 128),
        ("é" * 129, "too_long", 128),
        ("a,b", "comma", None),
        (",", "comma", None),
        (" a", "white_space", None),
        ("a ", "white_space", None),
        ("\u00a0a", "white_space", None),
        ("a\u3000", "white_space", None),
        (" ", "white_space", None),
        ("a\nb", "control_character", None),
        ("a\0b", "control_character", None),
        ("a\x7fb", "control_character", None),
        ("a\x85b", "control_character", None),
        ("a\ud800b", "lone_surrogate", None),
        ("a\udfff", "lone_surrogate", None),
        ("e\u0301", "not_nfc", None),
        ("\u212b", "not_nfc", None),  # the Ångström sign; NFC is U+00C5
    ],
)
def test_each_fault_of_a_user_id_has_its_code(user: str, code: str, limit: int | None) -> None:
    error = user_id_error(user)
    assert error is not None
    assert (error[0], error[2]) == (code, limit)
    with pytest.raises(Invalid) as raised:
        check_user_id(user, "/users/7")
    assert raised.value.code == code
    assert raised.value.field_errors[0].pointer == "/users/7"


@pytest.mark.parametrize(
    "user",
    ["a", "alice", "a" * 128, "é" * 128, "\U0001f600" * 128, "alice@example.com", "a b", "a:b",
     "日本語", "0", "-", "ａ", "a\u200db"],
)  # fmt: skip
def test_good_user_ids(user: str) -> None:
    assert user_id_error(user) is None


def test_the_bound_is_a_setting() -> None:
    error = user_id_error("abcdef", 5)
    assert error is not None
    assert error[2] == 5
    assert user_id_error("abcde", 5) is None


def test_a_set_is_sorted_and_each_is_in_it_once() -> None:
    assert normalize_participants(["bob", "alice", "bob"]) == ("alice", "bob")


def test_sorted_by_code_point_not_by_utf16_unit() -> None:
    high, astral = "\uff5e", "\U0001f600"
    assert normalize_participants([astral, high]) == (high, astral)
    assert channel_key((high, astral)) == f"{high},{astral}"
    units = sorted([high, astral], key=lambda text: text.encode("utf-16-be"))
    assert units == [astral, high], "the vector tells the two orders apart"


@given(st.lists(USER, min_size=1, max_size=8))
def test_code_point_order_is_byte_order_and_any_order_gives_one_key(users: list[str]) -> None:
    normal = normalize_participants(users)
    assert list(normal) == sorted(set(users), key=str.encode)
    assert channel_key(normalize_participants(users[::-1])) == channel_key(normal)


@given(st.lists(USER, min_size=1, max_size=4), st.lists(USER, min_size=1, max_size=4))
def test_two_sets_share_no_key(one: list[str], other: list[str]) -> None:
    a, b = normalize_participants(one), normalize_participants(other)
    assert (channel_key(a) == channel_key(b)) == (a == b)


def test_bounds_on_the_number() -> None:
    with pytest.raises(Invalid) as none:
        normalize_participants([])
    assert (none.value.code, none.value.field_errors[0].pointer) == ("too_few", "/participants")
    users = [f"user{n:03}" for n in range(MAX_PARTICIPANTS)]
    assert len(normalize_participants(users)) == 256
    with pytest.raises(Invalid) as many:
        normalize_participants([*users, "one-more"])
    assert (many.value.code, many.value.field_errors[0].limit) == ("too_many", 256)
    with pytest.raises(Invalid):
        normalize_participants(["same"] * 257)
    with pytest.raises(Invalid) as fewer:
        normalize_participants(["a", "b", "c"], max_participants=2)
    assert fewer.value.field_errors[0].limit == 2


def test_the_fault_names_the_entry() -> None:
    with pytest.raises(Invalid) as raised:
        normalize_participants(["a", "b", "c", "x" * 129])
    assert raised.value.field_errors[0].pointer == "/participants/3"
    assert raised.value.field_errors[0].limit == MAX_USER_ID


def test_a_key_of_255_bytes_is_itself_and_one_of_256_its_digest() -> None:
    half = "a" * 127
    fits, over = (half, "b" * 127), (half, "b" * 128)
    assert channel_key(fits) == ",".join(fits)
    assert len(channel_key(fits).encode()) == MAX_CHANNEL_BYTES
    raw = ",".join(over).encode()
    assert len(raw) == 256
    assert channel_key(over) == HASHED_PREFIX + hashlib.sha256(raw).hexdigest()


def test_the_bound_is_in_bytes_not_in_characters() -> None:
    fits, over = ("é" * 127,), ("é" * 128,)
    assert channel_key(fits) == fits[0]
    assert channel_key(over).startswith(HASHED_PREFIX)
    exactly = ("a", "é" * 126 + "x")  # 1 + 1 + 253
    assert len(",".join(exactly).encode()) == 255
    assert channel_key(exactly) == ",".join(exactly)


def test_no_user_can_be_called_like_a_digest() -> None:
    key = channel_key(normalize_participants(["u" * 128, "v" * 128]))
    assert user_id_error(key) is not None
    assert channel_error(key) is None


@given(st.lists(USER, min_size=1, max_size=30))
def test_every_key_that_is_made_is_taken_back(users: list[str]) -> None:
    assert channel_error(channel_key(normalize_participants(users))) is None


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("", "too_short"),
        ("a" * 256, "too_long"),
        ("é" * 128, "too_long"),
        ("bob,alice", "not_sorted"),
        ("alice,alice", "not_sorted"),
        ("alice,", "too_short"),
        ("alice,,bob", "too_short"),
        ("alice, bob", "white_space"),
        ("e\u0301", "not_nfc"),
        ("x" * 129, "too_long"),
    ],
)
def test_what_cannot_be_a_key(channel: str, code: str) -> None:
    error = channel_error(channel)
    assert error is not None
    assert error[0] == code


@given(st.text(max_size=40))
def test_a_good_id_is_in_nfc_without_comma_or_control(text: str) -> None:
    if user_id_error(text) is None:
        assert unicodedata.normalize("NFC", text) == text
        assert "," not in text
        assert text == text.strip()
        assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)
        text.encode()
