"""Cursors: ``epoch.id``, a client's position in one epoch of the log.

Composing one is part of the protocol: ``epoch.<id of the last message handled>``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from chatsvc.core.ids import format_id

_CURSOR = re.compile(r"([0-9a-z]{1,32})\.([0-9a-f]{16})\Z")


class Cursor(NamedTuple):
    """A position in one epoch of the log."""

    epoch: str
    id: int

    def __str__(self) -> str:
        return f"{self.epoch}.{format_id(self.id)}"


def parse_cursor(text: str) -> Cursor | None:
    """Parse a cursor; return ``None`` for other text, which is never refused."""
    match = _CURSOR.match(text)
    return Cursor(match[1], int(match[2], 16)) if match else None
