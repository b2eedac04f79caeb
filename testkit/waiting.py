"""Waiting for a condition, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 20.0
"""Seconds after which a condition will not come true any more."""


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return once the condition holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)
