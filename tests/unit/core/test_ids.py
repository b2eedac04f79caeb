"""Ids are positions: strictly rising whatever the clock does, and they sort as text."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.ids import (
    MAX_ID,
    STEP,
    created_at,
    format_id,
    id_at,
    id_ms,
    next_id,
    parse_id,
    uuid7_ms,
)
from tests.unit.support.vectors import cases

MS = st.integers(min_value=0, max_value=(1 << 48) - 1)


@given(st.lists(MS, min_size=1, max_size=50))
def test_ids_rise_under_any_clock(clock: list[int]) -> None:
    last = 0
    for now in clock:
        fresh = next_id(last, now)
        assert fresh > last
        assert id_ms(fresh) >= now
        assert fresh % STEP == 0, "the shard's bits stay free"
        last = fresh


@given(MS, MS)
def test_an_id_is_the_clocks_or_the_one_after_the_last(first: int, second: int) -> None:
    last = next_id(0, first)
    assert next_id(last, second) == max(id_at(second), last + STEP)


def test_the_1025th_of_a_millisecond_runs_into_the_next() -> None:
    now = 1_700_000_000_000
    ids = [next_id(id_at(now - 1), now)]
    while len(ids) < 1025:
        ids.append(next_id(ids[-1], now))
    assert {id_ms(value) for value in ids[:1024]} == {now}
    assert id_ms(ids[1024]) == now + 1
    assert len(set(ids)) == 1025
    assert ids == sorted(ids)


def test_a_clock_that_steps_back_an_hour_changes_nothing_but_created_at() -> None:
    now = 1_700_000_000_000
    last = next_id(0, now)
    assert next_id(last, now - 3_600_000) == last + STEP


@given(st.integers(0, MAX_ID), st.integers(0, MAX_ID))
def test_text_sorts_as_the_numbers_do(a: int, b: int) -> None:
    assert (format_id(a) < format_id(b)) == (a < b)
    assert parse_id(format_id(a)) == a
    assert len(format_id(a)) == 16


@pytest.mark.parametrize("case", cases("ids.json"), ids=lambda case: ascii(case["id"]))
def test_ids_are_as_published(case: dict[str, Any]) -> None:
    if case["ms"] is None:
        with pytest.raises(ValueError, match="16 lower-case hex"):
            parse_id(case["id"])
        return
    value = id_at(case["ms"]) + case["sequence"] * STEP + case["shard"]
    assert format_id(value) == case["id"]
    assert parse_id(case["id"]) == value
    assert id_ms(value) == case["ms"]
    assert created_at(value) == case["created_at"]


@given(st.integers(0, 253_402_300_799_999), st.integers(0, (1 << 16) - 1))
def test_created_at_is_the_ids_milliseconds(ms: int, low: int) -> None:
    text = created_at(id_at(ms) + low)
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert datetime.fromisoformat(text) == expected
    assert len(text) == len("2026-11-21T15:04:05.123Z")
    assert text.endswith("Z")


def test_created_at_pads_and_remembers_no_other_second() -> None:
    assert created_at(id_at(1_000)) == "1970-01-01T00:00:01.000Z"
    assert created_at(id_at(2_007)) == "1970-01-01T00:00:02.007Z"
    assert created_at(id_at(1_020)) == "1970-01-01T00:00:01.020Z"


@given(MS, st.integers(0, (1 << 74) - 1), st.booleans())
def test_a_uuid7_carries_its_milliseconds(ms: int, rest: int, upper: bool) -> None:
    value = (ms << 80) | (7 << 76) | ((rest >> 62) << 64) | (0b10 << 62) | (rest & ((1 << 62) - 1))
    text = str(uuid.UUID(int=value))
    assert uuid7_ms(text.upper() if upper else text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "018f3e2a-1c2d-4abc-8def-0123456789ab",  # version 4
        "018f3e2a-1c2d-7abc-7def-0123456789ab",  # another variant
        "018f3e2a1c2d7abc8def0123456789ab",
        "{018f3e2a-1c2d-7abc-8def-0123456789ab}",
        "018f3e2a-1c2d-7abc-8def-0123456789ab\n",
    ],
)
def test_other_texts_have_no_milliseconds(text: str) -> None:
    assert uuid7_ms(text) is None
