"""The table of error codes, by status, and tables put together."""

from __future__ import annotations

import pytest

from chatsvc.wire.error_codes import (
    ERROR_CODES,
    FRAME_STATUSES,
    Action,
    ErrorCode,
    codes_of,
    combine,
    frame_codes,
)


def test_the_codes_of_statuses_are_their_rows_in_the_order_of_the_table() -> None:
    found = codes_of(ERROR_CODES, 409, 404)
    assert [row.code for row in found] == ["not_found", "client_id_conflict"]
    assert codes_of(ERROR_CODES) == ()


def test_a_frame_can_carry_the_codes_of_its_statuses_and_no_others() -> None:
    carried = frame_codes(ERROR_CODES)
    assert {row.status for row in carried} == FRAME_STATUSES
    assert {row.status for row in set(ERROR_CODES) - set(carried)}.isdisjoint(FRAME_STATUSES)


def test_tables_are_put_together_by_status_then_by_name() -> None:
    more = (
        ErrorCode("zebra", 409, Action.FIX, "Z."),
        ErrorCode("apple", 409, Action.FIX, "A."),
        ErrorCode("apricot", 400, Action.FIX, "A."),
    )
    assert [row.code for row in combine(more[:2], more[2:])] == ["apricot", "apple", "zebra"]
    assert combine(ERROR_CODES) == ERROR_CODES


def test_a_code_that_two_tables_have_is_refused() -> None:
    row = ErrorCode("not_found", 409, Action.FIX, "Not there.")
    with pytest.raises(ValueError, match=r"a code must have one row: not_found\Z"):
        combine(ERROR_CODES, (row,))
