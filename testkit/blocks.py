"""What begins and ends with an ``async with`` block: clients, services, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self


class Block:
    """Something that begins and ends with an ``async with`` block."""

    async def begin(self) -> None:
        """Called when the block is entered."""

    async def end(self, error: BaseException | None) -> None:
        """Called when the block is left; ``error`` is the exception that leaves it."""

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end(error)


class Tasks(Block):
    """Tasks that are cancelled at the end of the block."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it until the end of the block."""
        self._tasks.append(asyncio.create_task(work))

    async def end(self, error: BaseException | None) -> None:
        """Cancel the tasks and wait for them.

        Raises:
            Exception: what ended a task, unless it was a lost connection or the block failed.
        """
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if error is not None:
            return
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError | EOFError):
                raise result


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values are; 0 if there are none."""
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
