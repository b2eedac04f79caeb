"""Connections to a SQLite file, each with the only thread that uses it."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from chatsvc.core.errors import StoreUnavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Make = Callable[[], sqlite3.Connection]


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
        self._pool: _Pool | None = None
        self._ending: _Pool | None = None

    @property
    def is_open(self) -> bool:
        """Whether work is taken."""
        return self._pool is not None

    async def open(self, make: Make) -> None:
        """Make the first connection, and take work.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        pool = _Pool(self._name, self._count, make)
        try:
            await self._submit(pool, lambda db: None)
        except BaseException:
            pool.end()
            raise
        self._pool = pool

    async def run(self, work: Work[T]) -> T:
        """The result of work on one of the connections.

        Raises:
            StoreUnavailable: not open, or SQLite failed.
        """
        pool = self._pool
        if pool is None:
            raise StoreUnavailable("the store is not open")
        return await self._submit(pool, work, self._check)

    @staticmethod
    async def _submit(pool: _Pool, work: Work[T], check: Callable[[], None] | None = None) -> T:
        try:
            return await asyncio.wrap_future(pool.submit(work, check))
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"the store's file cannot be used: {exc}") from exc

    def end(self) -> None:
        """Take no more work; each thread ends, with its connection, after what was given."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._ending = pool
            pool.end()

    async def close(self) -> None:
        """Finish what has begun, then close the connections. Idempotent.

        One that is cancelled has only stopped waiting: the threads end by themselves.
        """
        self.end()
        pool, self._ending = self._ending, None
        if pool is not None:
            await pool.wait()


class _Pool:
    """Threads that take work in turn, until :meth:`end`.

    The process does not wait for them at its end, as it does for those of a
    ``ThreadPoolExecutor``: a disk that hangs would keep it from ending.
    """

    def __init__(self, name: str, count: int, make: Make) -> None:
        self._make = make
        self._given: queue.SimpleQueue[Callable[[Callable[[], sqlite3.Connection]], None] | None]
        self._given = queue.SimpleQueue()
        self._threads: list[tuple[threading.Thread, Future[None]]] = []
        for number in range(count):
            ended: Future[None] = Future()
            ended.set_running_or_notify_cancel()  # nobody's waiting can cancel it
            thread = threading.Thread(
                target=self._run, args=(ended,), name=f"{name}_{number}", daemon=True
            )
            self._threads.append((thread, ended))
            thread.start()

    def submit(self, work: Work[T], check: Callable[[], None] | None) -> Future[T]:
        """Do work in one of the threads, after ``check``."""
        future: Future[T] = Future()

        def job(connection: Callable[[], sqlite3.Connection]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                if check is not None:
                    check()
                result = work(connection())
            except BaseException as exc:  # noqa: BLE001 - it is the caller's, in the other thread
                future.set_exception(exc)
            else:
                future.set_result(result)

        self._given.put(job)
        return future

    def end(self) -> None:
        """Take no more work."""
        for _ in self._threads:
            self._given.put(None)

    async def wait(self) -> None:
        """Wait until the threads have ended."""
        await asyncio.gather(*(asyncio.wrap_future(ended) for _, ended in self._threads))
        for thread, _ in self._threads:
            thread.join()  # it has nothing left to do but to end

    def _run(self, ended: Future[Any]) -> None:
        db: sqlite3.Connection | None = None

        def connection() -> sqlite3.Connection:
            nonlocal db
            if db is None:
                db = self._make()
            return db

        try:
            while (job := self._given.get()) is not None:
                job(connection)
                del job  # what it holds is not needed until the next one comes
            if db is not None:
                db.close()
        except BaseException as exc:  # noqa: BLE001 - for who waits for the end
            ended.set_exception(exc)
        else:
            ended.set_result(None)
