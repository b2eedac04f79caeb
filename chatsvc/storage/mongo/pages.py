"""Pages from MongoDB, read batch by batch until they are large enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from chatsvc.storage.mongo.documents import Document

T = TypeVar("T")

Prepare = Callable[[Sequence[Document]], Awaitable[None]]

_BATCH: Final = 100
"""Documents that the server sends at once. A batch is held whole, whatever is taken of it."""


async def read_page(
    cursor: Any,
    convert: Callable[[Document], T | None],
    size: Callable[[T], int],
    *,
    limit: int,
    max_bytes: int,
    prepare: Prepare | None = None,
) -> list[T]:
    """The first ``limit`` documents of a cursor, converted.

    Those that convert to ``None`` are left out, as :func:`~chatsvc.core.page.take` does. The
    cursor is closed in the end; nothing behind the last batch is asked for. ``prepare`` gets each
    batch before its documents are converted.

    Raises:
        PyMongoError: the driver's own.
    """
    cursor = cursor.limit(limit).batch_size(min(limit, _BATCH))
    found: list[T] = []
    bytes_left = max_bytes
    try:
        while len(found) < limit:
            batch = await cursor.to_list(min(limit - len(found), _BATCH))
            if prepare is not None:
                await prepare(batch)
            for document in batch:
                one = convert(document)
                if one is None:
                    continue
                found.append(one)
                bytes_left -= size(one)
                if bytes_left < 0 and len(found) > 1:
                    return found
            if len(batch) < _BATCH:
                break
    finally:
        await cursor.close()
    return found
