"""A server in a thread of its own, for commands that run a loop of theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web


@contextmanager
def serving(start: Callable[[], Awaitable[tuple[web.AppRunner, str]]]) -> Iterator[str]:
    """The URL that ``start`` gives, served until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        runner, url = asyncio.run_coroutine_threadsafe(_awaited(start), loop).result(30)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _awaited(
    start: Callable[[], Awaitable[tuple[web.AppRunner, str]]],
) -> tuple[web.AppRunner, str]:
    return await start()
