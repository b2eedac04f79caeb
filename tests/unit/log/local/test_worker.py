"""The log's thread: commits before chores."""

from __future__ import annotations

import threading

from chatsvc.log.local.worker import Worker


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
