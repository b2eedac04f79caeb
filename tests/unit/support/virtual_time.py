"""Tests of minutes and hours that take no time: an event loop whose clock jumps.

Whenever nothing is left to do but to wait for a timer, the loop's clock is put forward to that
timer. Not for what waits for a thread or another process: the clock does not wait for those.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock begins at 0 and jumps."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds of the loop's own clock."""
        return self._clock.now


def in_virtual_time(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test, made of a coroutine function, whose seconds pass at once."""

    def test(**arguments: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(story(**arguments))

    test.__signature__ = inspect.signature(story)  # type: ignore[attr-defined]
    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    test.__module__ = story.__module__
    test.pytestmark = list(getattr(story, "pytestmark", []))  # type: ignore[attr-defined]
    return test


def passed() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()
