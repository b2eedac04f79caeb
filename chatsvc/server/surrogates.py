"""Lone surrogates in JSON: RFC 8259 allows ``"\\ud83d"`` (§8.2), but it is not Unicode text.

A browser sends one where a text was cut within an emoji. msgspec reports it as malformed, or
as truncated, so the document is read again to name the field.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from chatsvc.core.errors import Invalid
from chatsvc.core.text import has_surrogate
from chatsvc.server.errors import pointer_step

_ESCAPED: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_with_surrogates(data: bytes) -> Any:
    """Return the document of JSON that may hold escaped surrogates, or ``None``.

    ``None`` also where it holds no escaped surrogate, and where it is not JSON.
    """
    if not _ESCAPED.search(data):
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def find_lone_surrogate(data: bytes) -> str | None:
    """Return the JSON pointer (RFC 6901) of the first text with a lone surrogate.

    For a member's name it is the pointer of the object. ``None`` if there is none.
    """
    waiting = [("", parse_with_surrogates(data))]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, str) and has_surrogate(value):
            return pointer
        if isinstance(value, dict):
            if any(has_surrogate(name) for name in value):
                return pointer
            children = [(f"{pointer}/{pointer_step(name)}", one) for name, one in value.items()]
            waiting.extend(reversed(children))
        elif isinstance(value, list):
            waiting.extend((f"{pointer}/{at}", value[at]) for at in reversed(range(len(value))))
    return None


def check_surrogates(data: bytes) -> None:
    """Refuse JSON that holds a lone surrogate; do nothing for any other data.

    Raises:
        Invalid: ``lone_surrogate``, at the text.
    """
    pointer = find_lone_surrogate(data)
    if pointer is not None:
        where = pointer or "the document"
        raise Invalid.at(pointer, "lone_surrogate", f"{where} must not contain lone surrogates")
