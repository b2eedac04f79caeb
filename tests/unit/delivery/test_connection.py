"""A socket as delivery sees it: slow, stalled, cut, sealed."""

from __future__ import annotations

import asyncio

from chatsvc.delivery.connection import HIGH_WATER, LOW_WATER
from tests.support.sockets import attach, connection


async def test_a_connection_without_transport_takes_nothing() -> None:
    one = connection("alice")
    one.write(b"x")
    one.write_all([b"x"])
    one.cut("whatever")
    await asyncio.wait_for(one.drained(), 5)


async def test_a_closed_transport_is_not_written_to() -> None:
    one = connection("alice")
    transport = attach(one)
    transport.close()
    one.write(b"x")
    one.write_all([b"x", b"y"])
    assert transport.writes == []


async def test_a_sealed_connection_takes_nothing_more() -> None:
    one = connection("alice")
    transport = attach(one)
    one.write(b"last")
    one.sealed = True
    one.write(b"x")
    one.write_all([b"x"])
    assert transport.wire == b"last"


async def test_beyond_the_bound_it_is_cut() -> None:
    one = connection("alice", buffer_limit=HIGH_WATER + 100)
    transport = attach(one, room=0)
    one.write(b"x" * HIGH_WATER)
    assert not one.slow_since
    one.write(b"x" * 100)
    assert one.slow_since
    assert not transport.aborted
    one.write_all([b"x"])
    assert transport.aborted


async def test_drained_waits_until_it_is_not_slow_or_gone() -> None:
    one = connection("alice")
    transport = attach(one, room=0)
    await asyncio.wait_for(one.drained(), 5)
    one.write(b"x" * (HIGH_WATER + 1))
    waiting = [asyncio.create_task(one.drained()) for _ in range(2)]
    await asyncio.sleep(0)
    transport.drain(HIGH_WATER - LOW_WATER)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    transport.drain(1)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    one.write(b"x" * (HIGH_WATER + 1))
    waiting = [asyncio.create_task(one.drained())]
    await asyncio.sleep(0)
    transport.lose()
    await asyncio.wait_for(waiting[0], 5)


async def test_stalled_is_who_has_not_read_for_so_long() -> None:
    one = connection("alice")
    transport = attach(one, room=0)
    now = asyncio.get_running_loop().time()
    assert not one.stalled(now + 1000, 10)
    one.write(b"x" * (HIGH_WATER + 1000))
    now = one.slow_since
    assert not one.stalled(now + 9, 10)
    assert one.stalled(now + 10, 10)
    transport.drain(1)
    assert not one.stalled(now + 10, 10), "it has read a little"
    assert not one.stalled(now + 19, 10)
    one.write(b"y" * 500)
    assert not one.stalled(now + 19, 10)
    assert one.stalled(now + 20, 10), "more to read is no reading"


async def test_whose_messages_it_wants() -> None:
    plain, echo = connection("alice", "phone"), connection("alice", "phone", echo=True)
    for one in (plain, echo):
        assert one.wants("bob", "phone")
        assert not one.wants("alice", "phone")
    assert not plain.wants("alice", "laptop")
    assert echo.wants("alice", "laptop")
