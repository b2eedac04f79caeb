"""Whether the store answers, asked by one task: health and metrics read what it found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from chatsvc.core.errors import ChatError
from chatsvc.storage.ports.lifecycle import StoreLifecycle

INTERVAL_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 3.0
"""With the interval less than the five seconds after which ``/health`` must know."""

_logger = structlog.get_logger("chatsvc.store")


class StoreProbe:
    """Opens the store once it is there, then pings it at intervals; one call at a time.

    After a failure it is opened again: a store whose file was replaced needs that, and to
    one that is open it does nothing.

    A call that does not return is waited for, and meanwhile the store counts as away:
    another beside it would only hold another of the driver's threads.

    Args:
        store: opened here if it is not yet: readers need it before the first write.
        interval: seconds between an answer and the next question.
        timeout: seconds after which a question counts as not answered.
    """

    def __init__(
        self,
        store: StoreLifecycle,
        *,
        interval: float = INTERVAL_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._store = store
        self._interval = interval
        self._timeout = timeout
        self._opened = False
        self._on_lost: Callable[[], None] | None = None
        self._on_recovered: Callable[[], None] | None = None
        self._down_since = time.monotonic()
        self._call: asyncio.Task[str | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.error: str | None = "it has not answered since the start"
        """Why it counts as away, or ``None`` while it answers. Never names a server."""

    @property
    def up(self) -> bool:
        """Whether the store answered when it was last asked."""
        return self.error is None

    def answered(self) -> None:
        """Somebody else had an answer of the store just now."""
        self.error = None

    def listen(self, *, lost: Callable[[], None], back: Callable[[], None]) -> None:
        """Register what is called when the store is lost and when it is back.

        ``lost`` is called each time the store did not answer, before it is opened again;
        ``back`` once it answers after that.
        """
        self._on_lost, self._on_recovered = lost, back

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store probe")

    async def stop(self) -> None:
        """End it, and the call that it waits for. Idempotent."""
        tasks = {task for task in (self._task, self._call) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            call = self._call = loop.create_task(self._ask(), name="store probe call")
            while not call.done():
                await asyncio.wait({call}, timeout=self._timeout)
                if not call.done():
                    self._found(f"it has not answered for {self._timeout:g} seconds")
            self._found(call.result())
            await asyncio.sleep(self._interval)

    async def _ask(self) -> str | None:
        """What is wrong, or ``None``."""
        try:
            if not self._opened:
                await self._store.open()
                self._opened = True
            await self._store.ping()
        except ChatError as exc:
            self._opened = False
            return str(exc) or "no answer"
        except Exception as exc:  # whatever it is, the store is of no use
            self._opened = False
            if self.up:
                _logger.exception("store_probe_failed")
            return type(exc).__name__
        return None

    def _found(self, error: str | None) -> None:
        was_up, self.error = self.up, error
        if error is not None and self._on_lost is not None:
            self._on_lost()
        if error is None and not was_up and self._on_recovered is not None:
            self._on_recovered()
        if error is not None and was_up:
            self._down_since = time.monotonic()
            _logger.warning("store_down", error=error)
        elif error is None and not was_up:
            _logger.info("store_up", seconds=round(time.monotonic() - self._down_since, 1))
