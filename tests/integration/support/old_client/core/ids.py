"""Message ids: positions in the log, as 64 bits that sort.

48 bits of Unix milliseconds, 10 of sequence, 6 reserved for a shard (0 today). In
memory an ``int``; everywhere else 16 lower-case hex digits, which sort as the
numbers do. The shape is kin to Snowflake ids; the order here is the log's own.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

SHARD_BITS: Final = 6
SEQUENCE_BITS: Final = 10
TIME_SHIFT: Final = SHARD_BITS + SEQUENCE_BITS
STEP: Final = 1 << SHARD_BITS
"""The distance between neighbours: one more in the sequence."""
MAX_ID: Final = (1 << 64) - 1

_ID = re.compile(r"[0-9a-f]{16}\Z")
_UUID7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z", re.IGNORECASE
)


def next_id(last: int, now_ms: int) -> int:
    """The id after ``last``: strictly greater, whatever the clock does.

    ``max(now, last + 1)``: a clock that stood still or went back yields the next in
    the sequence; the 1,025th of one millisecond runs into the next millisecond.
    """
    fresh = now_ms << TIME_SHIFT
    return fresh if fresh > last else last + STEP


def format_id(value: int) -> str:
    """16 lower-case hex digits."""
    return f"{value:016x}"


def parse_id(text: str) -> int:
    """The inverse of :func:`format_id`.

    Raises:
        ValueError: not 16 lower-case hex digits.
    """
    if not _ID.match(text):
        raise ValueError("a message id is 16 lower-case hex digits")
    return int(text, 16)


def id_ms(value: int) -> int:
    """The Unix milliseconds that the id carries."""
    return value >> TIME_SHIFT


def id_at(ms: int) -> int:
    """The lowest id of a millisecond: everything before it was accepted earlier."""
    return ms << TIME_SHIFT


def now_ms() -> int:
    """The wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


_second_text: tuple[int, str] = (-1, "")


def created_at(value: int) -> str:
    """The id's time as RFC 3339 UTC with milliseconds: ``2026-11-21T15:04:05.123Z``.

    The text up to the seconds is remembered: ids of one burst share it.
    """
    global _second_text
    seconds, ms = divmod(value >> TIME_SHIFT, 1000)
    known, text = _second_text
    if known != seconds:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _second_text = (seconds, text)
    return f"{text}.{ms:03d}Z"


def uuid7_ms(text: str) -> int | None:
    """The Unix milliseconds of a UUIDv7 (RFC 9562 §5.7) in its usual form, else ``None``."""
    if not _UUID7.match(text):
        return None
    return int(text[:8] + text[9:13], 16)
