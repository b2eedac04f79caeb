"""The same test on the event loop of asyncio and on uvloop's, which the service runs on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def on_both_loops(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test, made of a coroutine function, that runs it on each loop."""

    def test(*, loop: str, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(story(**arguments))

    signature = inspect.signature(story)
    chosen = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    test.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), chosen]
    )
    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    test.__module__ = story.__module__
    test.pytestmark = list(getattr(story, "pytestmark", []))  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", list(LOOPS))(test)
