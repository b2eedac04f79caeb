"""Equality as JSON has it."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc_conformance.expect import Failed, expect, one_of, same, shown


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1, 1.0),
        ({"a": [1, None, True]}, {"a": [1.0, None, True]}),
        ((1, "x"), [1, "x"]),
        ({"a", "b"}, {"b", "a"}),
        ([], []),
    ],
)
def test_equal(got: Any, want: Any) -> None:
    same(got, want, "it")


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (1, True),
        (False, 0),
        (None, False),
        ({"a": 1}, {"a": 1, "b": None}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": [True]}, {"a": [1]}),
        ("1", 1),
        ({"a"}, {"b"}),
        ([], {}),
    ],
)
def test_not_equal(got: Any, want: Any) -> None:
    with pytest.raises(Failed, match=r"^it is .* and must be "):
        same(got, want, "it")


def test_the_text_is_what_is_told() -> None:
    with pytest.raises(Failed, match=r"^so$"):
        expect([], "so")
    with pytest.raises(Failed, match="must be one of"):
        one_of(3, (1, 2), "it")
    assert len(shown("x" * 10_000)) < 400
