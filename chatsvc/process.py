"""The service as a process: from its start to the signal that ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from chatsvc import logs
from chatsvc.app import Running, Service
from chatsvc.features.messages.service import AllowAll, Policy
from chatsvc.settings import Settings

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may hold the interpreter while the log's thread waits for it."""
SAME_WISH_SECONDS: Final = 1.0
"""Within this a second signal is the first once more: Ctrl-C goes to every process of the
terminal's group, and what supervises one of them passes it on as well."""
EXIT_AT_ONCE: Final = 130
_LAST_LINES_SECONDS: Final = 0.5


async def run(
    settings: Settings,
    *,
    on_started: Callable[[Running], None] | None = None,
    policy: Policy | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then shut down in order.

    Args:
        on_started: called once requests are taken.
        policy: who may speak to whom; everybody, by default.

    Raises:
        ConfigurationError, VersionTooNew, LogDamaged: it cannot start; nothing was served.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_exception)
    sys.setswitchinterval(SWITCH_SECONDS)
    stop = StopSignal(clock=loop.time, end_at_once=_end_at_once)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    service = Service(settings, policy or AllowAll())
    try:
        running = await service.start()
        if on_started is not None:
            on_started(running)
        await stop.wait()
    finally:
        await service.stop()


class StopSignal:
    """Called for each signal: the first asks for a stop in order, one that comes more than
    :data:`SAME_WISH_SECONDS` later ends the process at once."""

    def __init__(self, *, clock: Callable[[], float], end_at_once: Callable[[], object]) -> None:
        self._clock = clock
        self._end_at_once = end_at_once
        self._asked = asyncio.Event()
        self._first = 0.0

    def __call__(self) -> None:
        now = self._clock()
        if not self._asked.is_set():
            self._first = now
            self._asked.set()
        elif now - self._first > SAME_WISH_SECONDS:
            self._end_at_once()

    async def wait(self) -> None:
        """Return once a stop was asked for."""
        await self._asked.wait()


def _end_at_once() -> None:
    """The log is durable without a farewell."""
    logs.finish(_LAST_LINES_SECONDS)
    os._exit(EXIT_AT_ONCE)
