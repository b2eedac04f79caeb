"""Floods into one socket: read in turns and in order."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.delivery.connection import HIGH_WATER
from chatsvc.log.base import Appended
from chatsvc.server.websocket.budget import ANSWERS_BYTES, TURN_UNITS
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from testkit.waiting import until
from tests.unit.support.socket_floods import (
    EMPTY_TEXT,
    JSON_PING,
    PING,
    READ,
    closed,
    feed,
    pongs,
    settled,
)
from tests.unit.support.socket_world import World, kinds, last_frame, send, turns
from tests.unit.support.sockets import attach, texts


@pytest.fixture
async def world() -> World:
    return World(unacked_max=64)


async def test_a_turn_runs_its_budget_and_the_rest_has_later_turns(world: World) -> None:
    socket, transport = world.open()
    many = TURN_UNITS * 5 + 3
    socket.data_received(PING * many)
    assert not transport.reading, "before the rest has been run"
    counts = []
    while not transport.reading:
        await asyncio.sleep(0)
        counts.append(pongs(transport))
    await settled(socket)
    steps = [b - a for a, b in zip([0, *counts], [*counts, pongs(transport)], strict=True)]
    assert pongs(transport) == many
    assert max(steps) <= TURN_UNITS
    assert not closed(transport)


async def test_whole_turns_exactly(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(PING * TURN_UNITS)
    assert transport.reading
    socket.data_received(PING * 2 * TURN_UNITS + PING[:3])
    await settled(socket)
    socket.data_received(PING[3:])
    await settled(socket)
    assert pongs(transport) == 3 * TURN_UNITS + 1
    assert transport.reading


async def test_nothing_is_lost_and_nothing_overtakes(world: World) -> None:
    """Sends, pings and refusals in one read, cut anywhere."""
    data = b"".join(
        send(str(at))
        + (JSON_PING if at % 3 else b"")
        + (EMPTY_TEXT if at % 50 == 0 else b"")
        + client_frame(frames.TEXT, b'{"type":"ping","ref":"p%d"}' % at)
        for at in range(300)
    )
    for max_bytes in (READ, 1000, 77):
        world.asked.clear()
        socket, transport = world.open()

        def answer(content: str) -> asyncio.Future[Appended]:
            future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
            future.set_result(Appended(int(content) + 1, b"", False))
            return future

        world.next_future = answer
        assert await feed(transport, data, max_bytes) == len(data)
        await settled(socket)
        await until(lambda transport=transport: "p299" in kinds(transport))  # type: ignore[misc]
        await turns()
        assert [content for content, _ in world.asked] == [str(at) for at in range(300)]
        refs = [kind for kind in kinds(transport) if kind.startswith("p") and kind != "pong"]
        assert refs == [f"p{at}" for at in range(300)]
        assert kinds(transport).count("pong") == 200
        assert kinds(transport).count("error") == 6
        assert not closed(transport)


async def test_data_that_comes_though_reading_is_paused_is_in_its_place(world: World) -> None:
    """As what came behind the handshake is, and what a loop had read already."""
    socket, transport = world.open()
    expected = []
    for at in range(0, 400, 100):
        names = [f"n{number}" for number in range(at, at + 100)]
        expected += names
        socket.data_received(
            b"".join(
                client_frame(frames.TEXT, b'{"type":"ping","ref":"%b"}' % n.encode()) for n in names
            )
        )
    await settled(socket)
    assert [kind for kind in kinds(transport) if kind.startswith("n")] == expected


async def test_answers_that_are_not_taken_stop_the_reading(world: World) -> None:
    """Who sends and reads nothing fills no memory; when it reads, everything goes on."""
    socket, transport = world.open()
    transport = attach(socket, capacity=0)
    bad = client_frame(frames.TEXT, b'{"type":"unknown","ref":"%b"}' % (b"r" * 64))
    count = 0
    while transport.reading and count < 900:
        socket.data_received(bad)
        await turns()
        count += 1
    assert socket.answers_unsent > ANSWERS_BYTES
    assert not closed(transport)
    held = len(transport.buffer)
    assert held < HIGH_WATER + ANSWERS_BYTES + 1000
    socket.data_received(bad * 20)
    await turns()
    assert len(transport.buffer) == held, "what had been read already waits too"
    transport.drain()
    await settled(socket)
    transport.drain()
    assert transport.reading
    errors = [one for one in texts(transport.wire) if one["type"] == "error"]
    assert len(errors) == count + 20


async def test_acks_that_are_not_taken_stop_the_reading(world: World) -> None:
    def accept(content: str) -> asyncio.Future[Appended]:
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        future.set_result(Appended(1, b"", False))
        return future

    world.next_future = accept
    socket, _ = world.open()
    transport = attach(socket, capacity=0)
    data = send("x") * 10_000
    at = 0
    while transport.reading:
        socket.data_received(data[at : at + 2000])
        at += 2000
        await turns()
        assert at < len(data)
    assert len(transport.buffer) < HIGH_WATER + 2 * ANSWERS_BYTES
    for _ in range(3):
        world.beat(socket)
    assert not closed(transport), "who is not read cannot miss a heartbeat"


async def test_one_that_is_slow_with_what_others_sent_is_still_answered(world: World) -> None:
    """A client that replays a long backlog must not take the connection for dead."""
    socket, _ = world.open()
    transport = attach(socket, capacity=0)
    socket.write(b"\x89\x00" * 50_000)
    assert socket.slow_since
    socket.data_received(client_frame(frames.TEXT, b'{"type":"ping","ref":"alive"}'))
    socket.data_received(send("heard"))
    await turns()
    assert transport.reading
    assert [content for content, _ in world.asked] == ["heard"]
    transport.drain()
    assert "alive" in kinds(transport)


@pytest.mark.parametrize("code", [4001, 4002, 4003, 1012, 1013])
async def test_nothing_is_accepted_after_a_close(code: int) -> None:
    """Frames that waited when it came are not run, whatever comes free then."""
    world = World(unacked_max=4)
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(8)))
    socket.close(code, "a reason")
    for at in range(4):
        world.asked[at][1].set_result(Appended(at + 1, b"", False))
        await turns()
    socket.data_received(send("later"))
    await turns()
    assert [content for content, _ in world.asked] == ["0", "1", "2", "3"]
    assert closed(transport) == code


async def test_the_peers_close_behind_frames_that_wait_ends_it_after_ours() -> None:
    world = World(unacked_max=4)
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(6)) + client_frame(8, b"\x03\xe8"))
    assert not transport.is_closing()
    socket.close(4002, "token expired")
    await until(transport.is_closing)
    assert len(world.asked) == 4


async def test_the_peers_close_has_its_turn_behind_its_sends() -> None:
    world = World(unacked_max=4)
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(6)) + client_frame(8, b"\x03\xe8"))
    for at in range(6):
        await until(lambda at=at: len(world.asked) > at)  # type: ignore[misc]
        world.asked[at][1].set_result(Appended(at + 1, b"", False))
    await until(transport.is_closing)
    assert len(world.asked) == 6, "said before it left"


async def test_a_flood_behind_our_close_is_cut_short(world: World) -> None:
    socket, transport = world.open()
    socket.close(1012, "restart")
    await feed(transport, PING * 100_000)
    assert not transport.reading
    assert last_frame(transport)[1][2:] == b"restart"
    assert pongs(transport) == 0


async def test_one_that_was_not_read_for_long_has_till_the_next_heartbeat() -> None:
    world = World(unacked_max=1)
    socket, transport = world.open()
    socket.data_received(send("held"))
    for _ in range(3):
        world.beat(socket)
    world.asked[0][1].set_result(Appended(1, b"", False))
    await turns()
    assert transport.reading
    world.beat(socket)
    assert not closed(transport)
    world.beat(socket)
    assert closed(transport) == 4103


async def test_a_socket_that_is_gone_runs_nothing_more(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(64)) + send("more") * 20)
    transport.close()
    socket.connection_lost(None)
    for _, future in list(world.asked):
        future.set_result(Appended(1, b"", False))
    await turns()
    assert len(world.asked) == 64
