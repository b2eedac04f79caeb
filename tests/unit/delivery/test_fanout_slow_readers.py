"""The fan-out hands over who reads too slowly, and nobody else."""

from __future__ import annotations

import pytest

from chatsvc.delivery.spans import BEHIND
from chatsvc.wire.frames import encode_text
from testkit.drafts import record
from tests.unit.support.fanning_out import Harness, got
from tests.unit.support.sockets import attach, connection


@pytest.fixture
async def harness() -> Harness:
    return Harness()


async def test_a_slow_reader_is_handed_over_at_its_bound_and_nobody_else(harness: Harness) -> None:
    slow = connection("bob", buffer_limit=200_000)
    stuck = attach(slow, capacity=0)
    harness.hub.add(slow)
    quick = harness.join("bob")
    for at in range(1, 40):
        await harness.send(record(at, "x" * 10_000))
    assert not stuck.aborted
    assert stuck.max_buffered <= 200_000
    assert len(got(quick)) == 39
    stuck.drain()
    served = got(stuck)
    assert served == list(range(1, len(served) + 1))
    assert harness.behind == [(slow, served[-1])], "once, with what it was served to"


@pytest.mark.parametrize("count", [1, 20])
async def test_a_batch_beyond_the_bound_is_not_written_at_all(harness: Harness, count: int) -> None:
    """Nor joined: it may be many times what a connection may hold."""
    bob = harness.join("bob", buffer_limit=70_000)
    size = 80_000 // count
    await harness.send(record(1, "small"))
    await harness.send(*(record(at, "x" * size) for at in range(2, 2 + count)))
    assert got(bob) == [1]
    assert harness.behind == [(bob.connection, 1)]


@pytest.mark.parametrize("senders", [("alice", "alice"), ("alice", "zoe")])
async def test_a_batch_of_just_the_bound_is_written(
    harness: Harness, senders: tuple[str, str]
) -> None:
    batch = [record(at, sender=sender) for at, sender in enumerate(senders, 1)]
    size = sum(len(encode_text(one.body)) for one in batch)
    fits, too_small = (
        harness.join("bob", buffer_limit=size),
        connection("bob", buffer_limit=size - 1),
    )
    attach(too_small)
    harness.hub.add(too_small)
    await harness.send(*batch)
    assert got(fits) == [1, 2]
    assert harness.behind == [(too_small, 0)]
    assert harness.delivered == 2, "of what is handed over nothing is counted"


async def test_over_several_conversations_too(harness: Harness) -> None:
    bob = harness.join("bob", buffer_limit=70_000)
    await harness.send(*(record(at, "x" * 30_000, sender=f"s{at}") for at in range(5, 9)))
    assert got(bob) == []
    assert harness.behind == [(bob.connection, 4)]


async def test_one_that_is_behind_is_passed_by_until_it_is_back(harness: Harness) -> None:
    bob, carol = harness.join("bob"), harness.join("carol")
    bob.connection.waiting = BEHIND
    await harness.send(record(1, to=("bob", "carol")), record(2, to=("bob",)))
    assert (got(bob), got(carol)) == ([], [1])
    bob.connection.waiting = None
    await harness.send(record(3))
    assert got(bob) == [3]


async def test_one_that_left_is_not_handed_over(harness: Harness) -> None:
    bob = harness.join("bob", buffer_limit=70_000)
    harness.fanout.accept([record(1, "x" * 80_000)])
    harness.hub.discard(bob.connection)
    await harness.settle()
    assert harness.behind == []
