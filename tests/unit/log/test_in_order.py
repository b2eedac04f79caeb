"""Decisions that keep the order in which they were asked for, whatever is stale meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsvc.core.errors import Busy, Forbidden, LogUnavailable
from chatsvc.core.record import Draft
from chatsvc.log.base import Appended
from chatsvc.log.deciding import Decision
from chatsvc.log.guards import Guard
from chatsvc.log.in_order import InOrder
from testkit.drafts import draft
from tests.unit.support.commit_disk import turn
from tests.unit.support.pumped_log import PumpedLog


class HeldLog(PumpedLog):
    """A log whose writes the test ends."""

    def _start(self) -> None:
        pass


class World:
    """A log, a clock, and sends that are guarded by the key ``m``."""

    def __init__(self) -> None:
        self.log = HeldLog()
        self.now = 100.0
        self.in_order = InOrder(self.log, lambda: self.now)
        self.refused: set[str] = set()

    def send(self, content: str, key: str = "m") -> asyncio.Future[Appended]:
        def decide() -> tuple[Sequence[Draft], Guard]:
            if content in self.refused:
                raise Forbidden("no member")
            return Decision([draft(content)], Guard(self.log.head, (key,)))

        return self.in_order.decide(decide, 2.0)

    def touch(self, *keys: str) -> None:
        self.log.append(msgspec.structs.replace(draft("touch"), touches=keys))

    async def end(self) -> None:
        """Go on until nothing is written or decided, which may be told some steps later."""
        quiet = 0
        while quiet < 5:
            await turn()
            quiet += 1
            if self.log.disk.is_writing:
                self.log.disk.finish()
                quiet = 0

    @property
    def said(self) -> list[str]:
        contents = [msgspec.json.decode(one.body)["content"] for one in self.log.disk.records]
        return [one for one in contents if one != "touch"]


async def stale(world: World, *contents: str) -> list[asyncio.Future[Appended]]:
    """Sends that are found stale, and of which it was not told yet."""
    world.touch("m")
    await turn()
    futures = [world.send(one) for one in contents]
    world.log.disk.finish()
    return futures


async def test_what_is_asked_for_while_others_are_stale_does_not_overtake_them() -> None:
    world = World()
    await stale(world, "1", "2")
    world.send("3")
    await turn()
    world.send("4")
    await world.end()
    assert world.said == ["1", "2", "3", "4"]
    assert not len(world.in_order)


async def test_what_is_asked_for_on_other_keys_does_not_wait() -> None:
    world = World()
    await stale(world, "1")
    world.send("2", "n")
    await world.end()
    assert world.said == ["2", "1"]


async def test_what_is_not_stale_is_one_commit() -> None:
    world = World()
    for at in range(100):
        world.send(str(at))
    await world.end()
    assert [len(batch) for batch in world.log.disk.batches] == [100]


async def test_what_is_refused_when_it_is_decided_again_stops_nobody() -> None:
    world = World()
    one, two = await stale(world, "1", "2")
    world.refused.add("1")
    await world.end()
    assert isinstance(one.exception(), Forbidden)
    assert (world.said, two.result().id) == (["2"], world.log.head)
    assert not len(world.in_order)


async def test_what_is_refused_at_once_leaves_nothing_behind() -> None:
    world = World()
    world.refused.add("1")
    with pytest.raises(Forbidden):
        world.send("1")
    assert not len(world.in_order)
    (one,) = await stale(world, "2")
    await turn()
    with pytest.raises(Forbidden):
        world.send("1")
    await world.end()
    assert (world.said, one.done(), len(world.in_order)) == (["2"], True, 0)


@pytest.mark.parametrize(("seconds", "is_busy"), [(1.9, False), (2.0, True)])
async def test_after_its_time_a_request_is_given_up(seconds: float, is_busy: bool) -> None:
    world = World()
    (one,) = await stale(world, "1")
    world.now += seconds
    await world.end()
    assert isinstance(one.exception(), Busy) is is_busy
    assert world.said == ([] if is_busy else ["1"])
    assert not len(world.in_order)


async def test_what_nobody_waits_for_any_more_is_not_appended_again() -> None:
    world = World()
    one, two = await stale(world, "1", "2")
    one.cancel()
    await world.end()
    assert (world.said, two.done(), len(world.in_order)) == (["2"], True, 0)


async def test_a_failed_commit_is_told_and_what_waits_goes_on() -> None:
    world = World()
    one = world.send("1")
    await turn()
    two = world.send("2")
    world.log.disk.fail()
    await world.end()
    assert isinstance(one.exception(), LogUnavailable)
    assert (world.said, two.done(), len(world.in_order)) == (["2"], True, 0)


STEPS = st.lists(st.sampled_from(["send", "send", "touch", "turn", "finish", "fail"]), max_size=60)


async def play(steps: Sequence[str]) -> None:
    world = World()
    futures: list[asyncio.Future[Appended]] = []
    disk = world.log.disk
    ends: dict[str, Callable[[], object]] = {"finish": disk.finish, "fail": disk.fail}
    for step in steps:
        if step == "send":
            futures.append(world.send(f"{len(futures):03}"))
        elif step == "touch":
            world.touch("m")
        elif step == "turn":
            await asyncio.sleep(0)
        elif disk.is_writing:
            ends[step]()
    await world.end()
    assert world.said == sorted(world.said)
    assert all(future.done() for future in futures)
    kept = [one.result().id for one in futures if one.exception() is None]
    assert kept == sorted(set(kept))
    assert len(kept) == len(world.said)
    assert not len(world.in_order)


@given(STEPS)
def test_in_any_interleaving_the_order_is_that_of_asking(steps: list[str]) -> None:
    asyncio.run(play(steps))
