"""The service as a process: from its start to the signal that ends it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc import logs
from chatsvc.app.lifecycle import Running, Service, StoppedWhileStarting
from chatsvc.features.messages.service import AllowAll, Policy
from chatsvc.settings.table import Settings

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may hold the interpreter lock while the log's thread waits for it."""
DUPLICATE_SIGNAL_SECONDS: Final = 1.0
"""A second signal within this time is a duplicate of the first: Ctrl-C goes to every process
of the terminal's group, and a supervisor among them forwards it as well."""
SECOND_SIGNAL_STATUS: Final = 130
_FLUSH_SECONDS: Final = 0.5

_logger = structlog.get_logger("chatsvc")


async def run(
    settings: Settings,
    *,
    on_started: Callable[[Running], None] | None = None,
    policy: Policy | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then shut down in order. A signal also ends a start.

    Args:
        on_started: called once requests are accepted.
        policy: who may send to whom; by default everybody to everybody.

    Raises:
        ConfigurationError, VersionTooNew, LogDamaged: the service cannot start.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_exception)
    sys.setswitchinterval(SWITCH_SECONDS)
    stop = StopSignal(clock=loop.time, exit_immediately=_exit_immediately)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        loop.add_signal_handler(signal.SIGHUP, stop)
    service = Service(settings, policy or AllowAll())
    stopping = loop.create_task(_stop_when_asked(service, stop))
    try:
        running = await service.start()
        _tune_garbage_collector()
        if on_started is not None:
            on_started(running)
        await stopping
    except StoppedWhileStarting:
        _logger.info("stopped_while_starting")
    finally:
        stopping.cancel()
        await service.stop()


async def _stop_when_asked(service: Service, stop: StopSignal) -> None:
    await stop.wait()
    await service.stop()


def _tune_garbage_collector() -> None:
    """Exempt from collections what lives as long as the process, and collect less often.

    For a process that only serves; a program that embeds the service keeps its own tuning.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)


class StopSignal:
    """The handler of SIGTERM and SIGINT.

    The first signal starts an orderly shutdown; one that comes more than
    :data:`DUPLICATE_SIGNAL_SECONDS` later ends the process immediately.
    """

    def __init__(
        self, *, clock: Callable[[], float], exit_immediately: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._exit_immediately = exit_immediately
        self._asked = asyncio.Event()
        self._first = 0.0

    def __call__(self) -> None:
        now = self._clock()
        if not self._asked.is_set():
            self._first = now
            self._asked.set()
        elif now - self._first > DUPLICATE_SIGNAL_SECONDS:
            self._exit_immediately()

    async def wait(self) -> None:
        """Return once a signal has arrived."""
        await self._asked.wait()


def _exit_immediately() -> None:
    """End the process without a shutdown; the log is durable without one."""
    logs.finish(_FLUSH_SECONDS)
    os._exit(SECOND_SIGNAL_STATUS)
