"""The log's own thread: commits first, maintenance when there is none."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable

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

    async def stop(self) -> None:
        """Run what was given, maintenance too, and end. Nothing may be given afterwards."""
        self._arrived.put(None)
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
