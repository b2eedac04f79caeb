"""Bounds of a page, in messages and in bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.page import Bounds, Entry, body_bytes, fit, take


def size(row: int) -> int:
    return row


def entries(*sizes: int) -> list[Entry]:
    return [Entry(n, n, "a,b", "a", "", ("a", "b"), b"x" * one) for n, one in enumerate(sizes, 1)]


@pytest.mark.parametrize(
    ("rows", "max_bytes", "count"),
    [
        ([], 10, 0),
        ([50], 10, 1),
        ([50, 1, 1], 10, 2),
        ([5, 5, 1, 1], 10, 3),
        ([5, 5], 10, 2),
        ([5, 6, 1], 10, 2),
        ([1, 50, 1], 10, 2),
        ([0, 0, 0], 0, 3),
    ],
)
def test_taking_ends_behind_the_row_that_passes_the_bound(
    rows: list[int], max_bytes: int, count: int
) -> None:
    assert take(rows, size, max_bytes) == rows[:count]


def test_no_row_is_read_that_is_not_taken() -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for row in (6, 6, 6, 6):
            read.append(row)
            yield row

    assert take(source(), size, 10) == [6, 6]
    assert read == [6, 6]


@given(
    rows=st.lists(st.integers(0, 9), max_size=12),
    limit=st.integers(0, 12),
    max_bytes=st.integers(0, 40),
    from_end=st.booleans(),
)
def test_a_page_that_was_taken_with_one_more_tells_exactly_whether_there_is_more(
    rows: list[int], limit: int, max_bytes: int, from_end: bool
) -> None:
    inward = rows[::-1] if from_end else rows
    source = take(inward[: limit + 1], size, max_bytes)
    if from_end:
        source.reverse()
    kept = fit(source, size, limit, max_bytes, from_end=from_end)
    expected = fit(rows, size, limit, max_bytes, from_end=from_end)
    assert kept == expected
    assert (len(kept) < len(source)) == (len(expected) < len(rows))
    assert len(kept) <= limit
    assert sum(kept) <= max_bytes or len(kept) == 1
    if rows and limit:
        assert kept


def test_bounds_are_reached_by_their_limit_or_their_bytes() -> None:
    bounds = Bounds(3, max_bytes=10)
    assert not bounds.reached_by(entries())
    assert not bounds.reached_by(entries(50))
    assert not bounds.reached_by(entries(5, 5))
    assert bounds.reached_by(entries(5, 6))
    assert bounds.reached_by(entries(1, 1, 1))
    assert body_bytes(entries(5, 6)) == 11
