"""Error codes as JSON Schema, for the documents that machines read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatsvc.wire.error_codes import ErrorCode


def code_schema(rows: Sequence[ErrorCode]) -> dict[str, Any]:
    """A string that is one of these codes today. Codes are added within a version, so it is
    no ``enum``: ``x-extensible-enum`` names those that are known."""
    return {
        "type": "string",
        "description": "Stable. A client takes a code that it does not know by its status.",
        "x-extensible-enum": [row.code for row in rows],
    }


def code_list(rows: Sequence[ErrorCode]) -> str:
    """The codes and what they mean, as a list of Markdown."""
    return "\n".join(f"- `{row.code}`: {row.meaning}" for row in rows)
