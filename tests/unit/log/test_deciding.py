"""Deciding again: turns on a key, the time that it may take, and what it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from chatsvc.core.errors import Busy, Forbidden, LogUnavailable
from chatsvc.core.record import Draft
from chatsvc.log import deciding as module
from chatsvc.log.base import Appended
from chatsvc.log.deciding import DECIDE_SECONDS, Deciding, Decision, jitter
from chatsvc.log.guards import Guard
from testkit.drafts import draft
from tests.unit.support.commit_disk import turn
from tests.unit.support.pumped_log import PumpedLog

SOON = 30.0


def touching(content: str, *keys: str) -> Draft:
    return msgspec.structs.replace(draft(content), touches=keys)


class World:
    """A log, and a clock that goes on by ``step`` with each pause."""

    def __init__(self, step: float = 0.0, max_waiting: int = 100_000) -> None:
        self.log = PumpedLog()
        self.now = 100.0
        self.step = step
        self.pauses: list[int] = []
        self.decided = 0
        self.interfering: Callable[[], None] = lambda: None
        self.deciding = Deciding(
            self.log, clock=lambda: self.now, pause=self.pause, max_waiting=max_waiting
        )

    async def pause(self, attempt: int) -> None:
        self.pauses.append(attempt)
        self.now += self.step
        await turn()

    def count_up(self, key: str, *others: str) -> Callable[[], Decision]:
        """A decision that reads a counter and raises it."""

        def decide() -> Decision:
            self.decided += 1
            count = sum(key in one.touches for one in self.log.disk.records)
            guard = Guard(self.log.head, (key, *others))
            self.interfering()
            return Decision([touching(str(count), key)], guard)

        return decide

    def counted(self, key: str) -> list[str]:
        """What each record of the key read of it."""
        records = [one for one in self.log.disk.records if key in one.touches]
        return [msgspec.json.decode(one.body)["content"] for one in records]


async def test_what_was_decided_is_appended_at_once() -> None:
    world = World()
    (appended,) = await world.deciding.decide_again(world.count_up("r"))
    assert [one.id for one in world.log.disk.records] == [appended.id]
    assert (world.decided, world.pauses) == (1, [])
    assert not len(world.deciding.turns)


async def test_an_answer_is_passed_on_and_nothing_is_appended() -> None:
    world = World()
    assert await world.deciding.decide_again(lambda: "you are a member already") == (
        "you are a member already"
    )
    assert world.log.disk.batches == []


async def test_what_a_decision_raises_ends_the_request() -> None:
    def refuses() -> Decision:
        raise Forbidden("a member must not be banned")

    with pytest.raises(Forbidden):
        await World().deciding.decide_again(refuses)


async def test_what_is_stale_is_decided_again() -> None:
    world = World()

    def interfering() -> None:
        if world.decided <= 3:
            world.log.append(touching("other", "r"))

    world.interfering = interfering
    await world.deciding.decide_again(world.count_up("r"))
    assert world.counted("r") == ["other", "other", "other", "3"]
    assert world.pauses == [0, 1, 2]


async def test_an_answer_may_come_of_deciding_again() -> None:
    world = World()
    decisions = iter([world.count_up("r")(), "nothing is left"])
    world.log.append(touching("other", "r"))
    assert await world.deciding.decide_again(lambda: next(decisions)) == "nothing is left"
    assert world.counted("r") == ["other"]


@pytest.mark.parametrize(("seconds", "attempts"), [(2.0, 5), (0.0, 1), (1.9, 5), (2.1, 6)])
async def test_after_its_time_a_request_is_given_up(seconds: float, attempts: int) -> None:
    world = World(step=0.5)

    def interfering() -> None:
        world.log.append(touching("other", "r"))

    world.interfering = interfering
    with pytest.raises(Busy) as raised:
        await world.deciding.decide_again(world.count_up("r"), seconds=seconds)
    assert (raised.value.code, raised.value.retry_after) == ("busy", 1.0)
    assert world.decided == attempts
    assert not len(world.deciding.turns)


def test_the_time_is_two_seconds() -> None:
    assert DECIDE_SECONDS == 2.0


async def test_what_the_log_refuses_is_not_decided_again() -> None:
    world = World()
    world.log.disk.refusal = LogUnavailable("no room")
    with pytest.raises(LogUnavailable, match="no room"):
        await world.deciding.decide_again(world.count_up("r"))
    assert world.decided == 1


async def test_a_thousand_at_once_on_one_key_are_all_decided_in_their_order() -> None:
    world = World(step=0.5)
    requests = [world.deciding.decide_again(world.count_up("r")) for _ in range(1000)]
    results: list[list[Appended]] = await asyncio.wait_for(asyncio.gather(*requests), SOON)
    ids = [one.id for result in results for one in result]
    assert ids == sorted(set(ids))
    assert world.counted("r") == [str(at) for at in range(1000)]
    assert world.decided == 1999, "once when it was asked for, once when its turn had come"
    assert world.pauses == []
    assert (world.deciding.turns.waiting, len(world.deciding.turns)) == (0, 0)


async def test_those_who_only_read_a_key_take_no_turns() -> None:
    world = World()

    def sends() -> Decision:
        return Decision([draft("hello")], Guard(world.log.head, ("s",)))

    requests = [world.deciding.decide_again(sends) for _ in range(100)]
    await asyncio.wait_for(asyncio.gather(*requests), SOON)
    assert [len(batch) for batch in world.log.disk.batches] == [100]


async def test_those_who_only_change_a_key_take_no_turns() -> None:
    world = World()
    names = iter(range(100))

    def leaves() -> Decision:
        own = f"m/{next(names)}"
        return Decision([touching("left", own, "r")], Guard(world.log.head, (own,)))

    requests = [world.deciding.decide_again(leaves) for _ in range(100)]
    await asyncio.wait_for(asyncio.gather(*requests), SOON)
    assert [len(batch) for batch in world.log.disk.batches] == [100]


async def test_decisions_on_several_keys_do_not_wait_for_one_another_for_ever() -> None:
    world = World()

    def both(first: str, second: str) -> Callable[[], Decision]:
        return lambda: Decision(
            [touching("1", first), touching("2", second)],
            Guard(world.log.head, (first, second)),
        )

    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "a")] * 10
    requests = [world.deciding.decide_again(both(*pair)) for pair in pairs]
    await asyncio.wait_for(asyncio.gather(*requests), SOON)
    assert len(world.log.disk.records) == 80
    assert world.pauses == []


async def test_the_time_begins_when_the_turn_has_come() -> None:
    world = World()

    def interfering() -> None:
        if world.decided == 3:  # the second, when its turn has come
            world.log.append(touching("other", "r"))

    world.interfering = interfering
    first = asyncio.ensure_future(world.deciding.decide_again(world.count_up("r")))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(world.deciding.decide_again(world.count_up("r")))
    await asyncio.sleep(0)
    assert world.deciding.turns.waiting == 1
    world.now += 1000.0
    assert len(await asyncio.wait_for(first, SOON)) == 1
    assert len(await asyncio.wait_for(second, SOON)) == 1
    assert world.counted("r") == ["0", "other", "2"]


async def test_too_many_who_wait_are_refused_at_once() -> None:
    world = World(max_waiting=2)
    requests = [world.deciding.decide_again(world.count_up("r")) for _ in range(4)]
    *kept, refused = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), SOON)
    assert isinstance(refused, Busy)
    assert world.counted("r") == ["0", "1", "2"]
    assert not any(isinstance(one, Exception) for one in kept)
    assert (world.deciding.turns.waiting, len(world.deciding.turns)) == (0, 0)


async def test_who_takes_no_turn_is_not_refused_for_those_who_wait() -> None:
    world = World(max_waiting=0)
    first = asyncio.ensure_future(world.deciding.decide_again(world.count_up("r")))
    await asyncio.sleep(0)
    other = world.deciding.decide_again(world.count_up("q"))
    await asyncio.wait_for(asyncio.gather(first, other), SOON)
    assert len(world.log.disk.records) == 2


@pytest.mark.parametrize("gone", [0, 1])
async def test_who_goes_away_gives_the_turn_to_the_next(gone: int) -> None:
    world = World()
    tasks = [
        asyncio.ensure_future(world.deciding.decide_again(world.count_up("r"))) for _ in range(3)
    ]
    await asyncio.sleep(0)
    tasks[gone].cancel()
    for at, task in enumerate(tasks):
        if at != gone:
            assert len(await asyncio.wait_for(task, SOON)) == 1
    assert world.counted("r") == (["0", "1", "2"] if gone == 0 else ["0", "1"])
    assert (world.deciding.turns.waiting, len(world.deciding.turns)) == (0, 0)


async def test_the_jitter_grows_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    monkeypatch.setattr(module.random, "uniform", lambda low, high: low + high)
    for attempt in (0, 1, 4, 5, 6, 100_000):
        await jitter(attempt)
    assert slept == [0.002, 0.004, 0.032, 0.064, 0.064, 0.064]
