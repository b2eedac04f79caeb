"""UUIDv7s of a chosen time."""

from __future__ import annotations

from chatsvc.client.uuid7 import build_uuid7


def uuid7_at(unix_ms: int, number: int = 1) -> str:
    """The ``number``-th of that millisecond."""
    return str(build_uuid7(unix_ms, number))
