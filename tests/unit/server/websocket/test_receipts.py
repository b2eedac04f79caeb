"""Receipts come behind the acknowledgements that they cover, however fast the store is."""

from __future__ import annotations

import asyncio

import pytest

from chatsvc.core.ids import format_id
from chatsvc.log.base import Appended
from testkit.drafts import record
from tests.unit.support.socket_world import World, send, turns
from tests.unit.support.sockets import FakeTransport, texts


@pytest.fixture
async def world() -> World:
    world = World()
    world.log.tail.watch(world.parts.receipts.stored)
    return world


def accept(world: World, *ids: int) -> None:
    """As the log does: the records, then the futures of their senders."""
    with world.log.acknowledgements:
        world.log.tail.extend([record(number) for number in ids])
        waiting = [future for _, future in world.asked if not future.done()]
        for number, future in zip(ids, waiting, strict=False):
            future.set_result(Appended(number, b"", False))


def seen(transport: FakeTransport) -> list[tuple[str, int]]:
    return [
        (frame["type"], int(frame.get("id") or frame["up_to"], 16))
        for frame in texts(transport.wire)
        if frame["type"] in ("ack", "stored")
    ]


async def test_a_receipt_follows_the_ack_and_names_the_watermark(world: World) -> None:
    socket, transport = world.open(receipts=True)
    socket.data_received(send("1") + send("2"))
    accept(world, 1, 2, 3)
    await turns()
    assert seen(transport) == [("ack", 1), ("ack", 2)]
    assert world.registry.unstored == {socket}
    world.log.tail.advance(1)
    world.log.tail.advance(3)
    await turns()
    assert seen(transport)[2:] == [("stored", 1), ("stored", 3)]
    assert world.registry.unstored == set()
    assert texts(transport.wire)[-1] == {"type": "stored", "up_to": format_id(3)}


async def test_what_is_stored_before_its_ack_is_queued_is_not_told_before_it(
    world: World,
) -> None:
    socket, transport = world.open(receipts=True)
    socket.data_received(send("1"))
    accept(world, 1)
    await turns()
    socket.data_received(send("2") + send("3"))
    accept(world, 2, 3)
    world.log.tail.advance(3)  # in the same turn: no ack of these is queued yet
    await turns()
    frames = seen(transport)
    assert [number for kind, number in frames if kind == "ack"] == [1, 2, 3]
    for at, (kind, number) in enumerate(frames):
        if kind == "stored":
            acknowledged = [n for k, n in frames[:at] if k == "ack"]
            assert number <= max(acknowledged)
    assert frames[-1] == ("stored", 3)
    assert world.registry.unstored == set()


async def test_one_that_is_looked_up_is_not_overtaken_by_its_receipt(world: World) -> None:
    """Its acknowledgement comes turns after its commit."""
    socket, transport = world.open(receipts=True)
    gate = asyncio.Event()

    async def look() -> Appended:
        await gate.wait()
        return Appended(2, b"", False)

    socket.data_received(send("1"))
    world.next_future = lambda content: asyncio.create_task(look())
    socket.data_received(send("2"))
    accept(world, 1)
    await turns()
    world.log.tail.extend([record(2)])
    world.log.tail.advance(2)
    await turns()
    assert seen(transport) == [("ack", 1), ("stored", 1)]
    gate.set()
    await turns()
    assert seen(transport)[2:] == [("ack", 2), ("stored", 2)]


async def test_without_receipts_nothing_is_told(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(send("1"))
    accept(world, 1)
    world.log.tail.advance(1)
    await turns()
    assert seen(transport) == [("ack", 1)]
    assert world.registry.unstored == set()


async def test_a_socket_that_is_gone_waits_for_none(world: World) -> None:
    socket, transport = world.open(receipts=True)
    socket.data_received(send("1"))
    transport.lose()
    accept(world, 1)
    await turns()
    assert world.registry.unstored == set()
