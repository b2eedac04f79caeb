"""More waits for a connection than it may hold: it goes on from the log, and is not cut."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.delivery.connection import HIGH_WATER
from testkit.drafts import record
from tests.unit.support.resuming import SOON, Resumption, shown, turns
from tests.unit.support.sockets import FakeTransport


async def until_idle(harness: Resumption, transport: FakeTransport, rate: int) -> None:
    """The reader reads, until all that waits has been read."""
    async with asyncio.timeout(SOON):
        while transport.connection.waiting is not None or transport.buffer:
            transport.drain(rate)
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("count", "size"), [(16, 96_000), (5, 1_000_000), (256, 15_000), (3000, 400)]
)
async def test_a_burst_in_one_commit_cuts_nobody_who_reads(count: int, size: int) -> None:
    harness = Resumption(recent_bytes=1 << 30, max_messages=3001)
    reader = harness.live(capacity=0)
    harness.accept(record(1, "before"))
    await turns(5)
    harness.accept(*(record(at, "x" * size) for at in range(2, 2 + count)))
    await turns(5)
    harness.accept(record(2 + count, "meanwhile"))
    assert reader.connection.waiting is not None
    await until_idle(harness, reader, 50_000)
    assert not reader.aborted
    assert shown(reader) == list(range(1, 3 + count)), "in order, once, and nothing else"
    assert reader.max_buffered <= HIGH_WATER + max(HIGH_WATER, size) + 1000
    assert harness.resumer.fell_behind == 1
    harness.accept(record(3 + count, "live again"))
    await turns(5)
    reader.drain()
    assert shown(reader)[-1] == 3 + count


async def test_bursts_from_many_at_once_cut_nobody_who_reads() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    reader = harness.live(capacity=0)
    at = 0
    for _ in range(20):
        for sender in ("s1", "s2", "s3", "bob"):
            harness.accept(record(at + 1, "x" * 50_000, sender=sender, to=("bob", "zoe")))
            at += 1
        await turns(4)
        reader.drain(100_000)
    await until_idle(harness, reader, 100_000)
    assert not reader.aborted
    assert shown(reader) == [number for number in range(1, at + 1) if number % 4]
    assert reader.max_buffered <= (1 << 20) + 51_000


async def test_one_that_fell_behind_goes_on_from_the_store() -> None:
    harness = Resumption()
    reader = await harness.full()
    harness.accept(*(record(at, "x" * 100_000) for at in range(2, 21)))
    await turns(5)
    harness.tail.advance(20)
    assert harness.tail.floor == 20
    await until_idle(harness, reader, 100_000)
    assert shown(reader) == list(range(1, 21))
    assert "page" in harness.store.calls


async def test_one_that_fell_behind_and_echoes_does_not_hear_itself() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    reader = harness.live(capacity=0, echo=True, origin="laptop/7")
    harness.accept(
        *(
            record(at, "x" * 100_000, sender="bob", to=("alice",), origin=origin)
            for at, origin in enumerate(["phone/1", "laptop/7", "laptop", "laptop/8"] * 4, start=1)
        )
    )
    await until_idle(harness, reader, 100_000)
    assert shown(reader) == [at for at in range(1, 17) if at % 4 in (1, 0)]


async def test_one_that_falls_further_behind_than_a_resume_replays_gets_a_gap() -> None:
    harness = Resumption(recent_bytes=1 << 30, max_messages=100)
    readers = [await harness.full(), await harness.full(2)]
    harness.accept(*(record(at, "x" * 20_000) for at in range(3, 100)))
    await turns(5)
    await until_idle(harness, readers[1], 100_000)
    harness.accept(*(record(at) for at in range(100, 151)))
    await until_idle(harness, readers[0], 100_000)
    harness.accept(record(151))
    await turns(5)
    for reader in readers:
        reader.drain()
    assert shown(readers[0]) == [1, 2, ("gap", 2, 150), 151]
    assert shown(readers[1]) == list(range(2, 152)), "no more than a hundred at any time"
    assert harness.resumer.gaps == 1


async def test_one_that_goes_on_falling_behind_gets_a_gap_in_the_end() -> None:
    harness = Resumption(recent_bytes=1 << 30, max_messages=500)
    reader = harness.live(capacity=0)
    harness.accept(*(record(at, "x" * 20_000) for at in range(1, 100)))
    at = 99
    async with asyncio.timeout(SOON):
        while not harness.resumer.gaps:
            harness.accept(record(at + 1, "x" * 20_000), record(at + 2, "x" * 20_000))
            at += 2
            reader.drain(20_000)  # half as fast as it comes
            await asyncio.sleep(0)
    await until_idle(harness, reader, 1_000_000)
    found = shown(reader)
    (gap,) = [entry for entry in found if not isinstance(entry, int)]
    assert [entry for entry in found if isinstance(entry, int)] == [
        *range(1, gap[1] + 1), *range(gap[2] + 1, at + 1)
    ], "each once and in order, or in the gap"  # fmt: skip


async def test_with_the_store_away_one_that_fell_behind_gets_a_gap() -> None:
    harness = Resumption()
    reader = await harness.full()
    harness.accept(*(record(at, "x" * 100_000) for at in range(2, 21)))
    await turns(5)
    harness.tail.advance(10)
    harness.store.fails_after = -1
    await until_idle(harness, reader, 1_000_000)
    assert shown(reader) == [1, ("gap", 1, 10), *range(11, 21)]


async def test_one_that_fell_behind_and_leaves_is_forgotten() -> None:
    harness = Resumption(recent_bytes=1 << 30)
    reader = harness.live(capacity=0)
    harness.accept(*(record(at, "x" * 100_000) for at in range(1, 21)))
    await turns(5)
    reader.lose()
    harness.hub.discard(reader.connection)
    await turns(5)
    assert not harness.resumer._tasks
    assert harness.hub.size == 0
