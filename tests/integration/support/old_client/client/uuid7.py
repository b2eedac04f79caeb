"""UUIDs of version 7 (RFC 9562 §5.7): Unix milliseconds first, then 74 random bits.

A server that has forgotten a ``client_id`` can tell from the time in it that it is an
old one, and looks it up; with any other string it could not.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import Final

_standard: Final[Callable[[], uuid.UUID] | None] = getattr(uuid, "uuid7", None)
_RANDOM_A: Final = (1 << 12) - 1
_RANDOM_B: Final = (1 << 62) - 1


def build_uuid7(unix_ms: int, random_bits: int) -> uuid.UUID:
    """Lay out the fields of RFC 9562 §5.7.

    Args:
        unix_ms: Unix milliseconds; the lower 48 bits are used.
        random_bits: at least 74 bits; the lowest 62 become ``rand_b``, the 12 above
            them ``rand_a``.
    """
    value = (unix_ms & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random_bits >> 62) & _RANDOM_A) << 64
    value |= 0b10 << 62
    value |= random_bits & _RANDOM_B
    return uuid.UUID(int=value)


def uuid7() -> str:
    """A fresh one in its usual form; the standard library's where it has one (3.14)."""
    if _standard is not None:
        return str(_standard())
    return str(build_uuid7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big")))
