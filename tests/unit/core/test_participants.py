"""User ids, sets of them, and the key that anyone can compute."""

from __future__ import annotations

import unicodedata
from typing import Any

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
from tests.unit.support.vectors import cases

USER = st.text(min_size=1, max_size=20).filter(lambda text: user_id_error(text) is None)


@pytest.mark.parametrize("case", cases("user_ids.json"), ids=lambda case: ascii(case["user_id"]))
def test_user_ids_are_accepted_and_refused_as_published(case: dict[str, Any]) -> None:
    user, wanted = case["user_id"], case["error"]
    error = user_id_error(user)
    if wanted is None:
        assert error is None
        return
    assert error is not None
    assert {"code": error[0], "limit": error[2]} == wanted
    with pytest.raises(Invalid) as raised:
        check_user_id(user, "/users/7")
    assert raised.value.code == wanted["code"]
    assert raised.value.field_errors[0].pointer == "/users/7"


@pytest.mark.parametrize("user", ["a\ud800b", "a\udfff"])
def test_a_lone_surrogate_is_refused(user: str) -> None:
    error = user_id_error(user)
    assert error is not None
    assert (error[0], error[2]) == ("lone_surrogate", None)


def test_the_bound_is_a_setting() -> None:
    error = user_id_error("abcdef", 5)
    assert error is not None
    assert error[2] == 5
    assert user_id_error("abcde", 5) is None


@pytest.mark.parametrize("case", cases("channel_keys.json"), ids=lambda case: case["why"])
def test_channel_keys_are_as_published(case: dict[str, Any]) -> None:
    normalized = normalize_participants(case["participants"])
    assert list(normalized) == case["normalized"]
    assert channel_key(normalized) == case["channel"]
    assert channel_error(case["channel"]) is None


def test_a_vector_tells_code_points_from_utf16_units() -> None:
    sets = [case["normalized"] for case in cases("channel_keys.json")]
    assert any(sorted(one, key=lambda user: user.encode("utf-16-be")) != one for one in sets)


def test_the_vectors_have_the_longest_key_and_the_shortest_hashed_one() -> None:
    lengths = {
        len(",".join(case["normalized"]).encode()): case["channel"]
        for case in cases("channel_keys.json")
    }
    assert not lengths[MAX_CHANNEL_BYTES].startswith(HASHED_PREFIX)
    assert lengths[MAX_CHANNEL_BYTES + 1].startswith(HASHED_PREFIX)


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


def test_no_user_can_be_called_like_a_digest() -> None:
    key = channel_key(normalize_participants(["u" * 128, "v" * 128]))
    assert user_id_error(key) is not None
    assert channel_error(key) is None


@given(st.lists(USER, min_size=1, max_size=30))
def test_every_key_that_is_made_is_taken_back(users: list[str]) -> None:
    assert channel_error(channel_key(normalize_participants(users))) is None


@pytest.mark.parametrize("case", cases("channels.json"), ids=lambda case: ascii(case["channel"]))
def test_channels_are_accepted_and_refused_as_published(case: dict[str, Any]) -> None:
    error = channel_error(case["channel"])
    assert (error and {"code": error[0], "limit": error[2]}) == case["error"]


@given(st.text(max_size=40))
def test_a_good_id_is_in_nfc_without_comma_or_control(text: str) -> None:
    if user_id_error(text) is None:
        assert unicodedata.normalize("NFC", text) == text
        assert "," not in text
        assert text == text.strip()
        assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)
        text.encode()
