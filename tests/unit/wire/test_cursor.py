"""A cursor is ``epoch.id``; anybody may compose one, nothing unreadable is a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.ids import MAX_ID, format_id
from chatsvc.wire.cursor import Cursor, parse_cursor


@given(st.from_regex(r"[0-9a-z]{1,32}", fullmatch=True), st.integers(0, MAX_ID))
def test_there_and_back(epoch: str, position: int) -> None:
    cursor = Cursor(epoch, position)
    assert parse_cursor(str(cursor)) == cursor
    assert str(cursor) == f"{epoch}.{format_id(position)}"


@pytest.mark.parametrize(
    "text",
    ["", ".", "epoch", "epoch.", ".0000000000000001", "epoch.1", "Epoch.0000000000000001",
     "epoch.0000000000000001 ", "epoch.0000000000000001\n", "epoch.000000000000000G",
     "e.p.0000000000000001", "e" * 33 + ".0000000000000001", "0000000000000001"],
)  # fmt: skip
def test_unreadable_ones_are_none(text: str) -> None:
    assert parse_cursor(text) is None


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    cursor = parse_cursor(text)
    assert cursor is None or str(cursor) == text
