"""Work that comes to its end before a cancellation of its caller goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which is not cancelled with its caller.

    A thread cannot be cancelled. Who goes on without it closes a file that is in use, or lets
    another process have the folder of one.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; ``work`` has ended.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as exc:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise exc from (None if task.cancelled() else task.exception())


async def finish_in_thread(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return the result of a call in a thread, which is waited for as by :func:`to_the_end`."""
    return await to_the_end(asyncio.to_thread(call, *args, **options))
