"""Cursors: ``epoch.id``, where in which life of the log a client stands.

Composing one is part of the protocol: ``epoch.<id of the last message handled>``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.integration.support.old_client.core.ids import format_id

_CURSOR = re.compile(r"([0-9a-z]{1,32})\.([0-9a-f]{16})\Z")


class Cursor(NamedTuple):
    """A position in one life of the log."""

    epoch: str
    id: int

    def __str__(self) -> str:
        return f"{self.epoch}.{format_id(self.id)}"


def parse_cursor(text: str) -> Cursor | None:
    """``None`` for what cannot be read: an unreadable cursor is never a refusal."""
    match = _CURSOR.match(text)
    return Cursor(match[1], int(match[2], 16)) if match else None
