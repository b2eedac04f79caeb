"""Error codes as JSON Schema, for ``/openapi.json`` and ``/asyncapi.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatsvc.wire.error_codes import ErrorCode


def code_schema(rows: Sequence[ErrorCode]) -> dict[str, Any]:
    """Return the schema of a string with these known codes.

    Codes may be added within a version, so it is no ``enum``: ``x-extensible-enum`` lists the
    known ones.
    """
    return {
        "type": "string",
        "description": "Stable. A client handles an unknown code by its status.",
        "x-extensible-enum": [row.code for row in rows],
    }


def code_list(rows: Sequence[ErrorCode]) -> str:
    """Return the codes and their meanings as a Markdown list."""
    return "\n".join(f"- `{row.code}`: {row.meaning}" for row in rows)
