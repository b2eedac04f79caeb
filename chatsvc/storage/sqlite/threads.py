"""Connections to a SQLite file, each with the only thread that uses it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from chatsvc.core.errors import StoreUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class SqliteThreads:
    """A number of threads with a connection each, made when it is first needed.

    Work that has begun is finished, whether or not its caller still waits.

    Args:
        name: of the threads.
        count: how many there are.
        check: called in the thread before each piece of work; raises ``StoreUnavailable``
            where the file is not what it was when it was opened.
    """

    def __init__(self, name: str, count: int = 1, *, check: Callable[[], None]) -> None:
        self._name = name
        self._count = count
        self._check = check
        self._executor: ThreadPoolExecutor | None = None
        self._make: Callable[[], sqlite3.Connection] | None = None
        self._own = threading.local()
        self._made: list[sqlite3.Connection] = []

    @property
    def is_open(self) -> bool:
        """Whether work is taken."""
        return self._executor is not None

    async def open(self, make: Callable[[], sqlite3.Connection]) -> None:
        """Make the first connection, and take work.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        executor = ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
        self._own, self._make = threading.local(), make
        try:
            await self._submit(executor, self._connection)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        self._executor = executor

    async def run(self, work: Work[T]) -> T:
        """The result of work on one of the connections.

        Raises:
            StoreUnavailable: not open, or SQLite failed.
        """
        executor = self._executor
        if executor is None:
            raise StoreUnavailable("the store is not open")

        def call() -> T:
            self._check()
            return work(self._connection())

        return await self._submit(executor, call)

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._own, "db", None)
        if found is None:
            assert self._make is not None
            found = self._own.db = self._make()
            self._made.append(found)
        return found

    @staticmethod
    async def _submit(executor: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be used: {exc}") from exc

    async def close(self) -> None:
        """Finish what has begun, then close the connections. Idempotent."""
        executor, self._executor = self._executor, None
        if executor is None:
            return

        def end() -> None:
            executor.shutdown(wait=True)
            made, self._made = self._made, []
            for db in made:
                db.close()

        await asyncio.to_thread(end)
