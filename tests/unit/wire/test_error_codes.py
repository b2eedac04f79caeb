"""The table of error codes, by status."""

from __future__ import annotations

from chatsvc.wire.error_codes import ERROR_CODES, FRAME_STATUSES, codes_of, frame_codes


def test_the_codes_of_statuses_are_their_rows_in_the_order_of_the_table() -> None:
    assert [row.code for row in codes_of(409, 404)] == ["not_found", "client_id_conflict"]
    assert codes_of() == ()


def test_a_frame_can_carry_the_codes_of_its_statuses_and_no_others() -> None:
    carried = frame_codes()
    assert {row.status for row in carried} == FRAME_STATUSES
    assert {row.status for row in set(ERROR_CODES) - set(carried)}.isdisjoint(FRAME_STATUSES)
