"""Message ids: positions in the log, as 64 bits that sort.

48 bits of Unix milliseconds, 10 of sequence, 6 reserved for a shard (0 today). In
memory an ``int``; everywhere else 16 lower-case hex digits, which sort as the
numbers do. The layout is similar to Snowflake ids; the order is that of the log.
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
"""The distance between two consecutive ids: one more in the sequence."""
MAX_ID: Final = (1 << 64) - 1

_ID = re.compile(r"[0-9a-f]{16}\Z")
_UUID7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z", re.IGNORECASE
)


def next_id(last: int, now_ms: int) -> int:
    """Return the id after ``last``: strictly greater, whatever the clock does.

    ``max(now, last + 1)``: a clock that stood still or went back yields the next in
    the sequence; the 1,025th of one millisecond runs into the next millisecond.
    """
    fresh = now_ms << TIME_SHIFT
    return fresh if fresh > last else last + STEP


def format_id(value: int) -> str:
    """Return the id as 16 lower-case hex digits."""
    return f"{value:016x}"


def parse_id(text: str) -> int:
    """Parse an id; the inverse of :func:`format_id`.

    Raises:
        ValueError: not 16 lower-case hex digits.
    """
    if not _ID.match(text):
        raise ValueError("a message id must be 16 lower-case hex digits")
    return int(text, 16)


def id_ms(value: int) -> int:
    """Return the Unix milliseconds that the id contains."""
    return value >> TIME_SHIFT


def id_at(ms: int) -> int:
    """Return the lowest id of a millisecond: every lower id was accepted earlier."""
    return ms << TIME_SHIFT


def now_ms() -> int:
    """Return the wall clock in Unix milliseconds."""
    return time.time_ns() // 1_000_000


_second_text: tuple[int, str] = (-1, "")
_ms_text: tuple[int, str] = (-1, "")


def created_at(value: int) -> str:
    """Return the id's time as RFC 3339 UTC with milliseconds: ``2026-11-21T15:04:05.123Z``.

    The last text is cached: the messages of one commit share it, and their acknowledgements.
    So is its part up to the seconds.
    """
    global _ms_text, _second_text
    unix_ms = value >> TIME_SHIFT
    known, text = _ms_text
    if known == unix_ms:
        return text
    seconds, ms = divmod(unix_ms, 1000)
    known, text = _second_text
    if known != seconds:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        _second_text = (seconds, text)
    text = f"{text}.{ms:03d}Z"
    _ms_text = (unix_ms, text)
    return text


def uuid7_ms(text: str) -> int | None:
    """Return the Unix milliseconds of a UUIDv7 (RFC 9562 §5.7), or ``None`` for other text."""
    if not _UUID7.match(text):
        return None
    return int(text[:8] + text[9:13], 16)
