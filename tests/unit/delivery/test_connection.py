"""A socket as delivery sees it: slow, stalled, cut, sealed."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.delivery.connection import HIGH_WATER, LOW_WATER
from chatsvc.delivery.transports import reset
from tests.unit.support.sockets import attach, connection


async def test_a_new_connection_is_not_live_nor_slow_nor_sealed() -> None:
    one = connection("alice", buffer_limit=77_000)
    assert one.transport is None
    assert one.waiting is None
    assert (one.live, one.sealed) == (False, False)
    assert (one.slow_since, one.slow_size, one.buffer_limit) == (0.0, 0, 77_000)


async def test_a_slow_one_that_is_cut_is_reset_and_another_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its peer does not read: the kernel would keep its share for minutes."""
    were_reset: list[asyncio.Transport] = []

    def noting(transport: asyncio.Transport) -> None:
        were_reset.append(transport)
        reset(transport)

    monkeypatch.setattr("chatsvc.delivery.connection.reset", noting)
    quick, slow = connection("alice"), connection("bob")
    transports = [attach(quick), attach(slow, capacity=0)]
    slow.write(b"x" * (HIGH_WATER + 1))
    for one in (quick, slow):
        one.cut("stalled")
    assert [one.aborted for one in transports] == [True, True]
    assert were_reset == [transports[1]]


async def test_one_that_is_lost_is_not_live() -> None:
    one = connection("alice")
    transport = attach(one)
    one.live = True
    transport.lose()
    assert (one.transport, one.live) == (None, False)


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


async def test_what_is_unsent_is_known_of_a_slow_one() -> None:
    one = connection("alice")
    assert one.unsent == 0
    transport = attach(one, capacity=0)
    one.write(b"x" * HIGH_WATER)
    assert (bool(one.slow_since), one.unsent) == (False, 0)
    one.write(b"x" * 100)
    one.write_all([b"x", b"y"])
    assert (bool(one.slow_since), one.unsent) == (True, HIGH_WATER + 102)
    transport.drain()
    assert (one.slow_since, one.unsent) == (0.0, 0)


async def test_writable_until_it_is_closing_or_gone() -> None:
    one = connection("alice")
    assert not one.writable
    transport = attach(one)
    assert one.writable
    transport.close()
    assert not one.writable
    attach(one)
    one.sealed = True
    assert not one.writable


async def test_drained_waits_until_it_is_not_slow_or_gone() -> None:
    one = connection("alice")
    transport = attach(one, capacity=0)
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
    transport = attach(one, capacity=0)
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
    one.write_all([b"y" * 250, b"y" * 250])
    assert not one.stalled(now + 19, 10)
    assert one.stalled(now + 20, 10), "more to read is no reading"


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_reads_less_than_comes_is_not_stalled(at_once: bool) -> None:
    """What is unsent grows all the time, though the peer reads all the time."""
    one = connection("alice")
    transport = attach(one, capacity=0)
    one.write(b"x" * (HIGH_WATER + 1000))
    now = one.slow_since
    for second in range(1, 30):
        if at_once:
            one.write(b"y" * 1000)
        else:
            one.write_all([b"y" * 400, b"y" * 600])
        transport.drain(500)
        assert not one.stalled(now + second, 10)
    assert not one.stalled(now + 38, 10)
    assert one.stalled(now + 39, 10)


async def test_whose_messages_it_wants() -> None:
    plain = connection("alice", "phone", origin="phone/1")
    echo = connection("alice", "phone", echo=True, origin="phone/2")
    for one in (plain, echo):
        assert one.wants("bob", "phone/2")
        assert one.wants_missed("bob", "phone/2")
        assert not one.wants("alice", "phone"), "over HTTP, in its device's name"
    for origin in ("laptop", "laptop/7", "phone/1", ""):
        assert not plain.wants("alice", origin)
        assert not plain.wants_missed("alice", origin)
        assert echo.wants("alice", origin)
        assert echo.wants_missed("alice", origin)
    assert not echo.wants("alice", "phone/2"), "sent over this very connection"
    assert not echo.wants_missed("alice", "phone/2")
    assert echo.wants_missed("alice", "phone"), "replay leaves out no device"
