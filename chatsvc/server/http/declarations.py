"""Where the request of an operation comes from, by its declaration."""

from __future__ import annotations

import re
from typing import Final

from chatsvc.api.operation import Operation

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_VARIABLE: Final = re.compile(r"\{(\w+)\}")


def has_json_body(operation: Operation) -> bool:
    """Return whether the request's struct is decoded from a JSON body."""
    return operation.method in WITH_BODY and operation.stream is None


def path_names(operation: Operation) -> tuple[str, ...]:
    """Return the names of the variable parts of an operation's path."""
    return tuple(_VARIABLE.findall(operation.path))


def routed_path(operation: Operation) -> str:
    """Return the path for aiohttp's router, whose variable parts would not match braces."""
    return _VARIABLE.sub(r"{\1:[^/]+}", operation.path)
