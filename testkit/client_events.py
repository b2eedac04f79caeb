"""Waiting for what a client hands over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from chatsvc.client import ChatClient, MessageReceived
from testkit import waiting
from testkit.scripted_server import PATIENCE

LONG_PATIENCE = 60.0
"""Seconds, where real processes are waited for."""

E = TypeVar("E")


async def soon(client: ChatClient, kind: type[E]) -> E:
    """The next event of this type; others are passed over."""
    async with asyncio.timeout(PATIENCE):
        async for event in client:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the events ended without a {kind.__name__}")


async def contents(client: ChatClient, count: int) -> list[str]:
    """The contents of the next messages."""
    return [(await soon(client, MessageReceived)).content for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; of real processes."""
    await waiting.until(condition, LONG_PATIENCE)
