"""Requests that wait for the same turn become one append; each has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from chatsvc.core.errors import Busy, Forbidden, LogUnavailable
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended
from chatsvc.log.deciding import Deciding, Decision
from chatsvc.log.guards import Guard
from chatsvc.log.merging import MAX_MERGED, Merged, Merging
from testkit.drafts import draft
from tests.unit.support.commit_disk import turn
from tests.unit.support.pumped_log import PumpedLog

SOON = 30.0


def touching(content: str, *keys: str) -> Draft:
    return msgspec.structs.replace(draft(content), touches=keys)


class World:
    """Requests are words; those that are upper-case have an answer already."""

    def __init__(self, step: float = 0.0, max_waiting: int = 1000) -> None:
        self.log = PumpedLog()
        self.now = 100.0
        self.step = step
        self.decided: list[list[str]] = []
        self.interfering: Callable[[], None] = lambda: None
        self.deciding = Deciding(
            self.log, clock=lambda: self.now, pause=self.pause, max_waiting=max_waiting
        )
        self.merging = Merging(self.deciding)

    async def pause(self, attempt: int) -> None:
        self.now += self.step
        await turn()

    def decide(self, words: Sequence[str]) -> Merged[str]:
        self.decided.append(list(words))
        guard = Guard(self.log.head, ("r",))
        self.interfering()
        new = [word for word in words if word.islower()]
        answers = [
            None if word.islower() else Forbidden("no") if word == "NO" else f"{word} before"
            for word in words
        ]
        if not new:
            return Merged(None, answers)
        return Merged(Decision([touching(" ".join(new), "r")], guard), answers)

    def ask(self, word: str, sort: str = "join") -> asyncio.Future[Any]:
        return asyncio.ensure_future(self.merging.decide("r", sort, word, self.decide))

    @property
    def records(self) -> list[str]:
        return [msgspec.json.decode(one.body)["content"] for one in self.log.disk.records]

    def assert_idle(self) -> None:
        assert (self.deciding.turns.waiting, len(self.deciding.turns)) == (0, 0)
        assert not self.merging._open
        assert not self.merging._tasks


async def gathered(*futures: asyncio.Future[Any]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), SOON)


async def test_those_who_ask_at_once_are_one_record() -> None:
    world = World()
    results = await gathered(*(world.ask(word) for word in ("a", "b", "c")))
    assert world.records == ["a b c"]
    assert results[0] == results[1] == results[2]
    assert [type(one) for one in results[0]] == [Appended]
    await turn()
    world.assert_idle()


async def test_those_who_wait_for_their_turn_are_the_next_record() -> None:
    world = World()
    first = world.ask("a")
    await turn()
    later = [world.ask(word) for word in ("b", "c")]
    await gathered(first, *later)
    assert world.records == ["a", "b c"]
    assert world.decided == [["a"], ["b", "c"]]


@pytest.mark.parametrize("count", [1, MAX_MERGED, MAX_MERGED + 1, 10 * MAX_MERGED])
async def test_so_many_are_decided_together(count: int) -> None:
    world = World()
    await gathered(*(world.ask("a") for _ in range(count)))
    full, rest = divmod(count, MAX_MERGED)
    assert [len(one) for one in world.decided] == [MAX_MERGED] * full + [rest] * bool(rest)


async def test_neighbours_of_another_sort_keep_their_places() -> None:
    world = World()
    await gathered(
        *(
            world.ask(word, sort)
            for word, sort in [("a", "join"), ("b", "join"), ("c", "leave"), ("d", "join")]
        )
    )
    assert world.records == ["a b", "c", "d"]


async def test_a_decision_between_them_keeps_its_place() -> None:
    world = World()

    def alone() -> Decision:
        return Decision([touching("alone", "r")], Guard(world.log.head, ("r",)))

    first = world.ask("a")
    await turn()
    second = world.ask("b")
    await turn()
    between = asyncio.ensure_future(world.deciding.decide_again(alone))
    await turn()
    third = world.ask("c")
    await gathered(first, second, between, third)
    assert world.records == ["a", "b", "alone", "c"]


async def test_each_has_its_own_answer() -> None:
    world = World()
    results = await gathered(*(world.ask(word) for word in ("A", "a", "NO", "b")))
    assert results[0] == "A before"
    assert results[1] == results[3]
    assert isinstance(results[2], Forbidden)
    assert world.records == ["a b"]


async def test_where_all_have_an_answer_nothing_is_appended() -> None:
    world = World()
    assert await gathered(world.ask("A"), world.ask("B")) == ["A before", "B before"]
    assert world.records == []


async def test_what_is_stale_is_decided_again_for_all_who_are_there() -> None:
    world = World()
    asked: list[asyncio.Future[Any]] = []

    def interfering() -> None:
        if len(world.decided) == 1:
            world.log.append(touching("other", "r"))
            asked[0].cancel()

    world.interfering = interfering
    asked += [world.ask(word) for word in ("a", "b", "A")]
    results = await gathered(*asked)
    assert world.decided == [["a", "b", "A"], ["b", "A"]]
    assert world.records == ["other", "b"]
    assert results[2] == "A before"


async def test_where_all_have_gone_nothing_is_decided() -> None:
    world = World()
    first = world.ask("a")
    await turn()
    gone = [world.ask("b"), world.ask("c")]
    await asyncio.sleep(0)
    for one in gone:
        one.cancel()
    await gathered(first, *gone)
    await turn()
    assert world.decided == [["a"]]
    world.assert_idle()


async def test_after_its_time_a_batch_is_given_up() -> None:
    world = World(step=0.5)
    world.interfering = lambda: world.log.append(touching("other", "r")) and None
    results = await gathered(world.ask("a"), world.ask("A"))
    assert [type(one) for one in results] == [Busy, Busy]
    assert len(world.decided) == 5
    await turn()
    world.assert_idle()


@pytest.mark.parametrize("error", [LogUnavailable("the disk is full"), None])
async def test_what_fails_fails_for_all_and_the_next_have_their_turn(
    error: LogUnavailable | None,
) -> None:
    world = World()

    def interfering() -> None:
        if len(world.decided) > 1:
            world.log.disk.refusal = None
        elif error is None:
            raise ZeroDivisionError
        else:
            world.log.disk.refusal = error

    world.interfering = interfering
    first = [world.ask("a"), world.ask("b")]
    await asyncio.sleep(0)
    other = world.ask("c", "leave")
    results = await gathered(*first, other)
    expected = ZeroDivisionError if error is None else LogUnavailable
    assert [type(one) for one in results] == [expected, expected, list]
    assert world.records == ["c"]


async def test_too_many_who_wait_are_refused() -> None:
    world = World(max_waiting=1)
    asked = [world.ask("a", "join"), world.ask("b", "leave"), world.ask("c", "join")]
    results = await gathered(*asked)
    assert [type(one) for one in results] == [list, list, Busy]
