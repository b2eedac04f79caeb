"""The log's own thread: commits first, maintenance when there is none."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

Job = Callable[[], object]


class Worker:
    """Runs jobs one at a time, none of which may raise."""

    def __init__(self, name: str) -> None:
        self._arrived: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._maintenance: deque[Job] = deque()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def commit(self, job: Job) -> None:
        """Run this before any maintenance that has not begun. In order of the calls."""
        self._arrived.put(job)

    def maintain(self, job: Job) -> None:
        """Run this when no commit waits. In order of the calls."""
        self._maintenance.append(job)
        self._arrived.put(_wake)

    def end(self) -> None:
        """End after what was given, maintenance too. Nothing may be given afterwards."""
        self._arrived.put(None)

    async def stop(self) -> None:
        """As :meth:`end`, and wait for it."""
        self.end()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (job := self._arrived.get()) is not None:
            job()
            while self._maintenance and self._arrived.empty():
                self._maintenance.popleft()()
        while self._maintenance:
            self._maintenance.popleft()()


def _wake() -> None:
    """What a maintenance job is announced by."""


async def call_in_thread(
    work: Callable[[], T],
    run: Callable[[Job], None],
    done: Callable[[T | Exception], None] | None = None,
) -> T:
    """Do ``work`` in the worker's thread, then tell ``done`` in the loop's.

    Whether or not the caller still waits.

    Args:
        run: one of the worker's: in turn with the commits, or when there is none.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | Exception) -> None:
        try:
            if done is not None:
                done(result)
        finally:
            if not future.done():  # its caller may have been cancelled meanwhile
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def job() -> None:
        result: T | Exception
        try:
            result = work()
        except Exception as exc:  # noqa: BLE001 - it is the caller's, in the other thread
            result = exc
        loop.call_soon_threadsafe(finish, result)

    run(job)
    return await future
