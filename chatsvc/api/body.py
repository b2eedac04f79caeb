"""Bodies that are read or written in parts instead of as one JSON value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple


class StreamedBody(NamedTuple):
    """A request's body that its handler reads in parts, as an :data:`Parts`.

    Args:
        media_types: what ``Content-Type`` may be, such as ``image/png``; ``*/*`` for any.
        max_bytes: the bound of the body; more is 413, before it is read where
            ``Content-Length`` says so.
    """

    media_types: tuple[str, ...]
    max_bytes: int


Parts = AsyncIterator[bytes]
"""The parts of a body in order, none of them empty.

As a request's: raises what reading a JSON body does (``TooLarge``, ``RequestTimeout``,
``Malformed``). As a response's: the next part is asked for once the one before is on its way.
"""
