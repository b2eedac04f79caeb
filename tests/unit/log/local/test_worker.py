"""The log's thread: commits before chores, and calls that are waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from chatsvc.log.local.worker import Worker, call_in_thread


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test")
    yield worker
    await worker.stop()


async def test_a_commit_goes_before_chores_that_wait() -> None:
    worker = Worker("test")
    gate = threading.Event()
    order: list[str] = []
    worker.commit(gate.wait)
    for name in ("chore 1", "chore 2"):
        worker.maintain(lambda name=name: order.append(name))
    for name in ("commit 1", "commit 2"):
        worker.commit(lambda name=name: order.append(name))
    gate.set()
    await worker.stop()
    assert order == ["commit 1", "commit 2", "chore 1", "chore 2"]


async def test_a_commit_that_arrives_meanwhile_waits_for_one_chore_alone() -> None:
    worker = Worker("test")
    order: list[str] = []

    ended = threading.Event()

    def first() -> None:
        worker.commit(lambda: order.append("commit"))
        worker.maintain(lambda: order.append("chore 2"))
        worker.maintain(ended.set)
        order.append("chore 1")

    worker.maintain(first)
    assert ended.wait(20)
    await worker.stop()
    assert order == ["chore 1", "commit", "chore 2"]


async def test_chores_are_done_before_the_end() -> None:
    worker = Worker("test")
    done: list[int] = []

    def chore() -> None:
        done.append(1)
        if len(done) < 3:
            worker.maintain(chore)

    worker.maintain(chore)
    await worker.stop()
    assert len(done) == 3


async def test_its_thread_does_not_keep_a_process_that_ends() -> None:
    worker = Worker("a thread by name")
    (thread,) = [one for one in threading.enumerate() if one.name == "a thread by name"]
    assert thread.daemon
    await worker.stop()
    assert not thread.is_alive()


async def test_what_a_call_returns_or_raises_is_its_callers(worker: Worker) -> None:
    threads: list[int] = []

    def work() -> str:
        threads.append(threading.get_ident())
        return "done"

    def fails() -> None:
        raise ValueError("no")

    assert await asyncio.wait_for(call_in_thread(work, worker.commit), 30) == "done"
    assert threads != [threading.get_ident()]
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(call_in_thread(fails, worker.maintain), 30)


async def test_what_follows_a_call_is_done_in_the_loop_whoever_waits(worker: Worker) -> None:
    told: list[object] = []
    called = asyncio.Event()

    def done(result: object) -> None:
        told.append((result, threading.get_ident()))
        called.set()

    begun = asyncio.create_task(call_in_thread(lambda: 17, worker.commit, done))
    await asyncio.sleep(0)
    begun.cancel()
    await asyncio.wait_for(called.wait(), 30)
    assert told == [(17, threading.get_ident())]


async def test_a_caller_is_answered_also_where_what_follows_fails(worker: Worker) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context["exception"])
    )
    error = ValueError("a fault")

    def done(_: object) -> None:
        raise error

    assert await asyncio.wait_for(call_in_thread(lambda: 17, worker.commit, done), 30) == 17
    assert reported == [error]
