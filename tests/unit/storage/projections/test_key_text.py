"""Keys as text sort as keys, and a prefix is a range."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatsvc.storage.projections.key_text import end_of, key_text

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\1\2"), max_size=4)
integers = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 2)
keys = st.tuples(texts, integers, texts)


@given(keys, keys)
def test_the_text_of_keys_sorts_as_they_do(
    one: tuple[str, int, str], other: tuple[str, int, str]
) -> None:
    first, second = key_text(one).encode(), key_text(other).encode()
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)
    assert b"\0" not in first


@given(keys, keys, st.integers(1, 3))
def test_a_prefix_is_the_range_of_its_keys(
    one: tuple[str, int, str], other: tuple[str, int, str], length: int
) -> None:
    prefix = one[:length]
    for key in (one, other):
        within = key_text(prefix).encode() <= key_text(key).encode() < end_of(prefix).encode()
        assert within == (key[:length] == prefix)
