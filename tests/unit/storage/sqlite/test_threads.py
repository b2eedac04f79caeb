"""Threads with a connection each: opened, closed, and opened again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from chatsvc.core.errors import StoreUnavailable
from chatsvc.storage.sqlite.threads import SqliteThreads
from testkit.waiting import until


class Connections:
    """``made``: every one, with the thread that made it. ``fault`` is raised instead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: list[tuple[sqlite3.Connection, str]] = []
        self.fault: Exception | None = None

    def make(self) -> sqlite3.Connection:
        if self.fault is not None:
            raise self.fault
        db = sqlite3.connect(self.path, check_same_thread=False)
        self.made.append((db, threading.current_thread().name))
        return db


@pytest.fixture
def connections(tmp_path: Path) -> Connections:
    return Connections(tmp_path / "x.db")


def one(db: sqlite3.Connection) -> object:
    return db.execute("SELECT 1").fetchone()[0]


async def test_one_thread_has_one_connection_until_it_is_closed(connections: Connections) -> None:
    checks: list[str] = []
    threads = SqliteThreads("name", check=lambda: checks.append(threading.current_thread().name))
    assert not threads.is_open
    with pytest.raises(StoreUnavailable, match="the store is not open"):
        await threads.run(one)
    for opened in (1, 2):
        await threads.open(connections.make)
        assert threads.is_open
        assert [await threads.run(one) for _ in range(3)] == [1, 1, 1]
        assert [name for _, name in connections.made] == ["name_0"] * opened
        await threads.close()
        await threads.close()
        assert not threads.is_open
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            one(connections.made[-1][0])
        with pytest.raises(StoreUnavailable, match="the store is not open"):
            await threads.run(one)
    assert checks == ["name_0"] * 6, "before each piece of work, and in its thread"


async def test_what_cannot_be_opened_is_not_open_and_leaves_no_thread(
    connections: Connections,
) -> None:
    threads = SqliteThreads("lonely", check=lambda: None)
    connections.fault = sqlite3.OperationalError("unable to open")
    with pytest.raises(StoreUnavailable, match="cannot be used: unable to open"):
        await threads.open(connections.make)
    assert not threads.is_open
    for thread in threading.enumerate():
        if thread.name.startswith("lonely"):
            thread.join(20)
            assert not thread.is_alive()
    connections.fault = None
    await threads.open(connections.make)
    assert await threads.run(one) == 1
    await threads.close()


async def test_work_that_the_check_refuses_is_not_begun(connections: Connections) -> None:
    def refuse() -> None:
        raise StoreUnavailable("moved")

    threads = SqliteThreads("name", check=refuse)
    await threads.open(connections.make)
    begun: list[sqlite3.Connection] = []
    with pytest.raises(StoreUnavailable, match="moved"):
        await threads.run(begun.append)
    assert begun == []
    await threads.close()


async def test_what_has_begun_is_finished_before_the_connections_are_closed(
    connections: Connections,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(db: sqlite3.Connection) -> object:
        begun.set()
        go_on.wait(20)
        return one(db)

    threads = SqliteThreads("name", check=lambda: None)
    await threads.open(connections.make)
    working = asyncio.ensure_future(threads.run(work))
    await asyncio.to_thread(begun.wait, 20)
    closing = asyncio.ensure_future(threads.close())
    await asyncio.wait({closing}, timeout=0.05)
    assert not closing.done()
    go_on.set()
    assert await working == 1
    await closing


async def test_an_opening_that_is_cancelled_leaves_no_connection(
    connections: Connections,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> sqlite3.Connection:
        begun.set()
        go_on.wait(20)
        return connections.make()

    threads = SqliteThreads("late", check=lambda: None)
    opening = asyncio.ensure_future(threads.open(slow))
    await asyncio.to_thread(begun.wait, 20)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not threads.is_open
    await threads.close()
    go_on.set()
    await until(lambda: not names_with("late"))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        one(connections.made[0][0])


async def test_a_close_that_is_cancelled_ends_the_threads_all_the_same(
    connections: Connections,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(20)

    threads = SqliteThreads("busy", 3, check=lambda: None)
    await threads.open(connections.make)
    working = asyncio.ensure_future(threads.run(work))
    await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(threads.close(), 0.02)
    go_on.set()
    await working
    await until(lambda: not names_with("busy"))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        one(connections.made[0][0])


async def test_its_threads_do_not_keep_the_process_from_ending(connections: Connections) -> None:
    threads = SqliteThreads("daemon", 2, check=lambda: None)
    await threads.open(connections.make)
    found = [thread for thread in threading.enumerate() if thread.name.startswith("daemon")]
    assert [thread.daemon for thread in found] == [True, True]
    await threads.close()


def names_with(prefix: str) -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(prefix)]


async def test_work_is_done_one_after_another_unless_there_are_to_be_more(
    connections: Connections,
) -> None:
    threads = SqliteThreads("name", check=lambda: None)
    await threads.open(connections.make)
    running = threading.Lock()

    def alone(db: sqlite3.Connection) -> bool:
        if not running.acquire(blocking=False):
            return False
        try:
            time.sleep(0.01)
            return True
        finally:
            running.release()

    assert all(await asyncio.gather(*(threads.run(alone) for _ in range(5))))
    assert len(connections.made) == 1
    await threads.close()
