"""Bodies that are read or written in parts instead of as one JSON value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

Parts = AsyncIterator[bytes]
"""The parts of a body in order; empty ones are passed over.

As a request's: raises what reading a JSON body does (``TooLarge``, ``RequestTimeout``,
``Malformed``). As a response's: the next part is asked for once the one before is on its way.
"""


class StreamedBody(NamedTuple):
    """A request's body that its handler reads in parts.

    Args:
        media_types: what ``Content-Type`` may be, such as ``image/png``; ``*/*`` for any.
        max_bytes: the bound of the body; more is 413, before it is read where
            ``Content-Length`` says so.
    """

    media_types: tuple[str, ...]
    max_bytes: int


class StreamedReply(NamedTuple):
    """A response's body that is written in parts.

    Args:
        parts: closed in any case, whether or not they are asked for.
        media_type: the ``Content-Type``.
        length: of all parts together, in bytes, where it is known before: the
            ``Content-Length``. Parts that come to another length are a failure.
    """

    parts: Parts
    media_type: str
    length: int | None = None
