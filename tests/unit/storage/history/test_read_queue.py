"""Whose turn it is to read, and how long anybody waits."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from chatsvc.core.errors import HistoryBusy
from chatsvc.storage.history.read_queue import ReadQueue


class Reads:
    """Reads that end when the test says so; ``begun`` names whose they are, in order."""

    def __init__(self, queue: ReadQueue) -> None:
        self.queue = queue
        self.begun: list[str] = []
        self._open: dict[str, list[asyncio.Future[str]]] = {}

    def read(self, user: str) -> asyncio.Task[str]:
        async def call() -> str:
            self.begun.append(user)
            end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._open.setdefault(user, []).append(end)
            return await end

        return asyncio.ensure_future(self.queue.run(user, call))

    async def end(self, user: str) -> None:
        self._open[user].pop(0).set_result(user)
        await turns()

    async def fail(self, user: str) -> None:
        self._open[user].pop(0).set_exception(ValueError(user))
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_user_has_a_part_of_the_turns_and_others_the_rest() -> None:
    reads = Reads(ReadQueue(6))
    for _ in range(10):
        reads.read("mallory")
    await turns()
    assert reads.begun == ["mallory"] * 2
    for user in ("alice", "bob", "carol", "dave", "erin"):
        reads.read(user)
    await turns()
    assert reads.begun == ["mallory", "mallory", "alice", "bob", "carol", "dave"]
    assert reads.queue.waiting == 9


async def test_who_waits_is_served_user_by_user() -> None:
    reads = Reads(ReadQueue(1))
    reads.read("first")
    await turns()
    for user in ("mallory", "mallory", "mallory", "alice", "bob", "alice"):
        reads.read(user)
    await turns()
    for user in ("first", "mallory", "alice", "bob", "mallory", "alice"):
        await reads.end(user)
    assert reads.begun == ["first", "mallory", "alice", "bob", "mallory", "alice", "mallory"]
    await reads.end("mallory")
    assert reads.queue.waiting == 0
    again = reads.read("mallory")
    await turns()
    await reads.end("mallory")
    assert await again == "mallory"


async def test_one_turn_is_enough_for_anybody() -> None:
    reads = Reads(ReadQueue(2))
    for _ in range(3):
        reads.read("alice")
    await turns()
    assert reads.begun == ["alice"]
    await reads.end("alice")
    assert reads.begun == ["alice", "alice"]


@pytest.mark.parametrize("bounds", [{"waiting_per_user": 2}, {"waiting": 2}])
async def test_too_many_waiting_are_refused_at_once(bounds: dict[str, int]) -> None:
    reads = Reads(ReadQueue(1, **bounds))
    for _ in range(3):
        reads.read("mallory")
    await turns()
    with pytest.raises(HistoryBusy) as raised:
        await reads.read("mallory")
    assert raised.value.code == "history_busy"
    assert raised.value.retry_after == 1.0
    assert reads.queue.refused == 1
    if "waiting" in bounds:
        with pytest.raises(HistoryBusy):
            await reads.read("alice")
    else:
        reads.read("alice")
    await turns()
    assert reads.queue.waiting == 3 - ("waiting" in bounds)


async def test_one_that_ends_makes_room_for_one() -> None:
    reads = Reads(ReadQueue(6))
    for _ in range(6):
        reads.read("mallory")
    await turns()
    for begun in (2, 3, 4):
        assert reads.begun == ["mallory"] * begun
        await reads.end("mallory")
    single = Reads(ReadQueue(1))
    for user in ("alice", "bob", "carol"):
        single.read(user)
    await turns()
    await single.end("alice")
    assert single.begun == ["alice", "bob"]


async def test_a_turn_that_comes_while_its_reader_goes_is_the_next_ones() -> None:
    reads = Reads(ReadQueue(1))
    reads.read("alice")
    await turns()
    gone, next_one = reads.read("bob"), reads.read("carol")
    await turns()
    reads._open["alice"].pop(0).set_result("alice")
    await asyncio.sleep(0)  # its end is known with the next turn of the loop
    gone.cancel()
    await turns()
    assert gone.cancelled()
    assert reads.begun == ["alice", "carol"]
    await reads.end("carol")
    assert await next_one == "carol"
    assert reads.queue.waiting == 0


async def test_the_failure_of_a_read_whose_reader_has_gone_is_nobodys() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    reads = Reads(ReadQueue(1))
    gone = reads.read("alice")
    await turns()
    gone.cancel()
    await turns()
    await reads.fail("alice")
    cut_off = asyncio.ensure_future(reads.queue.run("bob", asyncio.Event().wait))
    await turns()
    (call,) = [task for task in asyncio.all_tasks() if "Event.wait" in repr(task.get_coro())]
    call.cancel()
    del call
    await turns()
    assert cut_off.cancelled()
    gc.collect()
    assert told == []


async def test_a_third_is_rounded_down() -> None:
    reads = Reads(ReadQueue(5))
    for _ in range(3):
        reads.read("alice")
    await turns()
    assert reads.begun == ["alice"]


async def test_a_refusal_takes_nobodys_place() -> None:
    reads = Reads(ReadQueue(1, waiting_per_user=2))
    waiting = [reads.read("mallory") for _ in range(3)]
    await turns()
    for refused in (1, 2):
        with pytest.raises(HistoryBusy, match="too many reads"):
            await reads.read("mallory")
        assert reads.queue.refused == refused
    for _ in waiting:
        await reads.end("mallory")
    assert await asyncio.gather(*waiting) == ["mallory"] * 3


async def test_who_was_refused_is_not_waited_for() -> None:
    reads = Reads(ReadQueue(1, waiting=0))
    first = reads.read("alice")
    await turns()
    with pytest.raises(HistoryBusy):
        await reads.read("bob")
    await reads.end("alice")
    assert await first == "alice"
    again = reads.read("bob")
    await turns()
    await reads.end("bob")
    assert await again == "bob"


async def test_waiting_has_an_end() -> None:
    reads = Reads(ReadQueue(1, seconds=0.01))
    reads.read("alice")
    await turns()
    with pytest.raises(HistoryBusy, match="in time"):
        await reads.read("bob")
    assert reads.queue.waiting == 0
    await reads.end("alice")
    assert reads.begun == ["alice"], "who gave up takes no turn"
    reads.read("carol")
    await turns()
    assert reads.begun == ["alice", "carol"]


async def test_a_caller_that_goes_away_gives_its_turn_back_when_the_read_has_ended() -> None:
    reads = Reads(ReadQueue(1))
    gone = reads.read("mallory")
    await turns()
    waiting = reads.read("alice")
    left = reads.read("bob")
    await turns()
    gone.cancel()
    left.cancel()
    await turns()
    assert reads.begun == ["mallory"], "its thread still reads"
    assert reads.queue.waiting == 1
    await reads.end("mallory")
    await reads.end("alice")
    assert await waiting == "alice"
    assert reads.begun == ["mallory", "alice"]


async def test_who_goes_away_as_the_turn_comes_gives_it_on() -> None:
    reads = Reads(ReadQueue(1))
    reads.read("mallory")
    await turns()
    gone, waiting = reads.read("alice"), reads.read("bob")
    await turns()
    reads._open["mallory"].pop(0).set_result("mallory")
    reads.queue._end("mallory")  # the turn is alice's, who has not run yet
    reads.queue._begin("mallory")  # what the read's own end takes back
    gone.cancel()
    await turns()
    assert reads.begun == ["mallory", "bob"]
    await reads.end("bob")
    assert await waiting == "bob"
    assert reads.queue._active == 0


async def test_a_failure_is_the_callers_and_gives_the_turn_back() -> None:
    reads = Reads(ReadQueue(1))
    failed = reads.read("alice")
    await turns()
    await reads.fail("alice")
    with pytest.raises(ValueError, match="alice"):
        await failed
    reads.read("bob")
    await turns()
    assert reads.begun == ["alice", "bob"]


async def test_any_order_of_events_leaves_every_turn_free_again() -> None:
    import random

    for seed in range(50):
        chance = random.Random(seed)
        reads = Reads(ReadQueue(3, seconds=30))
        tasks: list[asyncio.Task[str]] = []
        for _ in range(80):
            what = chance.random()
            if what < 0.5:
                tasks.append(reads.read(chance.choice("abcd")))
            elif what < 0.6 and tasks:
                chance.choice(tasks).cancel()
            else:
                busy = [user for user, held in reads._open.items() if held]
                if busy:
                    reads._open[chance.choice(busy)].pop(0).set_result("x")
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            assert reads.queue._active <= 3
            assert max(reads.queue._running.values(), default=0) <= 1
        while not all(task.done() for task in tasks):
            await turns()
            for held in reads._open.values():
                while held:
                    held.pop(0).set_result("x")
        await turns()
        assert (reads.queue._active, reads.queue.waiting) == (0, 0), seed
        assert not reads.queue._running
        assert not reads.queue._queues
