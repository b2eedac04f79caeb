"""A cursor is ``epoch.id``; anybody may compose one, nothing unreadable is a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.ids import MAX_ID, format_id, parse_id
from chatsvc.wire.cursor import Cursor, parse_cursor
from tests.unit.support.vectors import cases


@given(st.from_regex(r"[0-9a-z]{1,32}", fullmatch=True), st.integers(0, MAX_ID))
def test_there_and_back(epoch: str, position: int) -> None:
    cursor = Cursor(epoch, position)
    assert parse_cursor(str(cursor)) == cursor
    assert str(cursor) == f"{epoch}.{format_id(position)}"


@pytest.mark.parametrize("case", cases("cursors.json"), ids=lambda case: ascii(case["cursor"]))
def test_cursors_are_read_and_composed_as_published(case: dict[str, Any]) -> None:
    cursor, value = parse_cursor(case["cursor"]), case["value"]
    if value is None:
        assert cursor is None
    else:
        assert cursor == Cursor(value["epoch"], parse_id(value["id"]))
        assert str(cursor) == case["cursor"]


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    cursor = parse_cursor(text)
    assert cursor is None or str(cursor) == text
