"""The order of answers to a commit and of what follows it."""

from __future__ import annotations

import asyncio

from chatsvc.log.acknowledgements import Acknowledgements


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Sender:
    """Queues an answer for each of its futures, and notes when they are written."""

    def __init__(self, steps: Acknowledgements, seen: list[str], name: str) -> None:
        self.steps, self.seen, self.name = steps, seen, name
        self.queued = 0

    def future(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(self.answer)
        return future

    def answer(self, future: asyncio.Future[None] | None = None) -> None:
        if not self.queued:
            self.steps.write_soon(self.write)
        self.queued += 1

    def write(self) -> None:
        self.seen.append(f"{self.name}:{self.queued}")
        self.queued = 0


async def test_an_action_of_a_commit_comes_after_every_answer_to_it() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    senders = [Sender(steps, seen, name) for name in "ab"]
    futures = [sender.future() for sender in senders for _ in range(3)]
    with steps:
        steps.after(lambda: seen.append("delivered"))
        for future in futures:
            future.set_result(None)
    await turns()
    assert seen == ["a:3", "b:3", "delivered"], "the answers of one sender in one write"


async def test_what_was_queued_before_a_commit_does_not_bring_its_actions_forward() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    early, late = Sender(steps, seen, "early"), Sender(steps, seen, "late")
    future = late.future()
    early.answer()
    steps.after(lambda: seen.append("other"))
    with steps:
        steps.after(lambda: seen.append("delivered"))
        future.set_result(None)
    await turns()
    assert seen == ["early:1", "other", "late:1", "delivered"]


async def test_a_request_that_awaits_its_future_has_run_one_step() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def request() -> None:
        await future
        seen.append("answered")

    task = asyncio.create_task(request())
    await turns()
    with steps:
        steps.after(lambda: seen.append("delivered"))
        future.set_result(None)
    await task
    await turns()
    assert seen == ["answered", "delivered"]


async def test_without_a_commit_an_action_runs_in_the_next_turn_behind_answers() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    sender = Sender(steps, seen, "a")
    steps.after(lambda: seen.append("delivered"))
    sender.answer()
    assert seen == []
    await turns(1)
    assert seen == ["a:1", "delivered"]


async def test_answers_alone_are_written_in_the_next_turn_and_once() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    sender = Sender(steps, seen, "a")
    for _ in range(2):
        sender.answer()
        sender.answer()
        await turns(1)
    await turns()
    assert seen == ["a:2", "a:2"]


async def test_one_that_raises_keeps_nothing_else_from_running() -> None:
    steps = Acknowledgements()
    seen: list[str] = []

    def broken() -> None:
        raise ZeroDivisionError

    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.append(told))
    steps.write_soon(broken)
    steps.write_soon(lambda: seen.append("written"))
    steps.after(broken)
    steps.after(lambda: seen.append("delivered"))
    await turns()
    assert seen == ["written", "delivered"]
    assert [type(told["exception"]) for told in failures] == [ZeroDivisionError] * 2


async def test_a_commit_that_fails_half_way_leaves_the_step_in_order() -> None:
    steps = Acknowledgements()
    seen: list[str] = []
    try:
        with steps:
            steps.after(lambda: seen.append("delivered"))
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    steps.after(lambda: seen.append("later"))
    await turns()
    assert seen == ["delivered", "later"]


async def test_a_cancellation_that_is_raised_keeps_nothing_else_from_running() -> None:
    steps = Acknowledgements()
    seen: list[str] = []

    def cancelled() -> None:
        raise asyncio.CancelledError

    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: failures.append(told))
    steps.write_soon(cancelled)
    steps.write_soon(lambda: seen.append("written"))
    steps.after(cancelled)
    steps.after(lambda: seen.append("delivered"))
    await turns()
    assert seen == ["written", "delivered"]
    assert [type(told["exception"]) for told in failures] == [asyncio.CancelledError] * 2
