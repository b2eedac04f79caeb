"""The JSON Schema keywords of requests are the limits, and what the checks accept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from chatsvc.api.fields import Keywords
from chatsvc.core.limits import Limits
from chatsvc.features.messages.model import (
    HEADER_BOUNDS,
    ONE_CONVERSATION,
    page_bounds,
    send_bounds,
)

LIMITS = Limits(
    participants=7,
    user_id_characters=11,
    content_characters=13,
    metadata_bytes=17,
    metadata_depth=19,
    page=23,
)


def patterns() -> dict[str, re.Pattern[str]]:
    return {
        field: re.compile(keywords["pattern"])
        for bounds in (send_bounds(LIMITS), HEADER_BOUNDS, page_bounds(LIMITS))
        for field, keywords in bounds.items()
        if "pattern" in keywords
    }


def without(bounds: Mapping[str, Keywords], *names: str) -> dict[str, dict[str, Any]]:
    return {
        field: {name: value for name, value in keywords.items() if name not in names}
        for field, keywords in bounds.items()
    }


def test_the_bounds_of_a_send_are_the_limits() -> None:
    assert without(send_bounds(LIMITS), "description", "pattern") == {
        "participants": {"minItems": 1, "maxItems": 7},
        "participants/items": {"minLength": 1, "maxLength": 11},
        "channel": {"minLength": 1, "maxLength": 255},
        "content": {"minLength": 1, "maxLength": 13},
        "client_id": {"minLength": 1, "maxLength": 64},
        "metadata": {},
    }


def test_the_bounds_of_a_send_s_headers() -> None:
    assert without(HEADER_BOUNDS, "pattern") == {
        "headers/idempotency_key": {"minLength": 1, "maxLength": 64},
        "headers/device": {},
    }


def test_the_bounds_of_a_page_are_the_limits() -> None:
    assert without(page_bounds(LIMITS), "description", "pattern") == {
        "participants": {"minLength": 1},
        "channel": {"minLength": 1, "maxLength": 255},
        "limit": {"minimum": 1, "maximum": 23},
        "before": {},
        "after": {},
        "around": {},
    }


def test_what_a_type_and_numbers_do_not_say_is_described() -> None:
    described = {
        field: keywords["description"]
        for bounds in (send_bounds(LIMITS), page_bounds(LIMITS))
        for field, keywords in bounds.items()
        if "description" in keywords
    }
    assert set(described) == {
        "participants",
        "participants/items",
        "channel",
        "metadata",
        "before",
        "after",
        "around",
    }
    assert all(described.values())
    assert "17 bytes" in described["metadata"]
    assert "19 levels" in described["metadata"]


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [
        (["participants/items"], ["alice", "Bo b", "é", "~"], ["", "a,b", "a\nb", "\x7f", "\x9f"]),
        (["content"], ["x", "\n", "é\x01"], ["", "a\x00b"]),
        (["client_id", "headers/idempotency_key"], ["k", " ~", "a b"], ["", "a\nb", "é", "\x7f"]),
        (["headers/device"], ["phone-1", "A_z", "9" * 64], ["", "a/b", "a b", "9" * 65]),
        (["before", "after", "around"], ["019aa7c3f2100000"], ["", "019AA7C3F2100000", "0" * 17]),
    ],
)
def test_the_patterns(fields: list[str], good: list[str], bad: list[str]) -> None:
    for field in fields:
        pattern = patterns()[field]
        assert [text for text in [*good, *bad] if pattern.search(text)] == good


def test_every_pattern_is_looked_at() -> None:
    assert len(patterns()) == 8


def test_a_conversation_is_named_by_exactly_one_of_two() -> None:
    assert ONE_CONVERSATION == [{"required": ["participants"]}, {"required": ["channel"]}]
